import { describe, expect, it } from 'vitest'
import { implausible, parseTyped } from '../src/number'

describe('numbers as people type them', () => {
  it.each([
    ['1.5', 1.5],
    ['1,5', 1.5],
    [' 24,998 ', 24.998],
    ['-0,02', -0.02],
    ['−3', -3],
    ['+7', 7],
    [',5', 0.5],
    ['5.', 5],
    ['0', 0],
  ])('%s is %d', (text, value) => expect(parseTyped(text)).toEqual({ value }))

  it.each(['1.234,5', '1,234.5', '1,2,3', '1.2.3', '', '  ', 'abc', '1e3', '12 mm', '--1', '.', ',', 'NaN', 'Infinity', '0x10'])(
    'refuses "%s"',
    (text) => expect(parseTyped(text)).toHaveProperty('mistake'),
  )

  it('says why both marks are refused', () => {
    expect(parseTyped('1.234,5')).toEqual({ mistake: 'Use a point or a comma as decimal mark, not both.' })
  })

  it('doubts what lies outside of plausible', () => {
    expect(implausible(250, [20, 30])).toEqual(['above', 30])
    expect(implausible(2.5, [20, 30])).toEqual(['below', 20])
    expect(implausible(20, [20, 30])).toBeNull()
    expect(implausible(1e9, [null, null])).toBeNull()
  })
})
