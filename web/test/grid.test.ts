import { describe, expect, it } from 'vitest'
import { columnsFor, mostColumns, sharedColumns } from '../src/views/grid'

describe('columns of tiles', () => {
  it('fit 56 tiles on a wall', () => {
    expect(columnsFor(56, 1920, 1080)).toBe(8)
  })

  it('give few tiles more room', () => {
    expect(columnsFor(1, 1920, 1080)).toBe(1)
    expect(columnsFor(10, 1920, 1080)).toBe(4)
    expect(columnsFor(10, 800, 1280)).toBe(2)
  })

  it('never are narrower than can be read', () => {
    for (const width of [320, 800, 1280, 1920, 3840]) {
      for (const tiles of [1, 2, 5, 28, 56]) {
        const columns = columnsFor(tiles, width, 1080)
        expect(columns).toBeGreaterThanOrEqual(1)
        expect(columns).toBeLessThanOrEqual(mostColumns(width))
      }
    }
  })

  it('are the same for all lines of a plant, and leave few gaps', () => {
    expect(sharedColumns([10, 11, 10], mostColumns(1920))).toBe(6)
    expect(sharedColumns([3], mostColumns(1920))).toBe(3)
    expect(sharedColumns([], 9)).toBe(1)
  })
})
