import { describe, expect, it } from 'vitest'
import type { Snap, Version } from '../src/live/protocol'
import { Series } from '../src/live/series'
import { bit, decode, dispersionMark, inWords, locationMark } from '../src/live/violations'

const version = { chart: 'i_mr', n: 1, spec: { lower: 9, target: null, upper: 11 } } as unknown as Version

function point(y: number, f: number, g = 0, n = 1): Series {
  const snap = {
    t: 'snap', c: 'c', seq: 1, partial: false, limits_version: 1, versions: {},
    x: [1], ts: [1], y: [y], d: [0], n: [n], v: [1], f: [f], g: [g], l: {},
  } // prettier-ignore
  return Series.of(snap as Snap, 1)
}

describe('bits of f', () => {
  it('are read beyond 32', () => {
    expect(bit(2 ** 48, 48)).toBe(true)
    expect(bit(2 ** 48, 16)).toBe(false)
    expect(bit(2 ** 49 + 1, 49)).toBe(true)
  })

  it('name every rule with its side', () => {
    expect(decode(0)).toEqual([])
    expect(decode(1)).toEqual([{ rule: 'nelson-1', chart: 'location', side: 'upper' }])
    expect(decode(2 ** 3)).toEqual([{ rule: 'nelson-2', chart: 'location', side: 'lower' }])
    expect(decode(2 ** 16)[0]!.rule).toBe('we-1')
    expect(decode(2 ** 23)).toEqual([{ rule: 'we-4', chart: 'location', side: 'lower' }])
    expect(decode(2 ** 48)).toEqual([{ rule: 'nelson-1', chart: 'dispersion', side: 'upper' }])
    expect(decode(1 + 4 + 2 ** 49)).toHaveLength(3)
  })

  it('say in words what happened', () => {
    expect(inWords(decode(4)[0]!)).toBe('9 in a row on one side, high (nelson-2)')
    expect(inWords(decode(2 ** 49)[0]!)).toBe('spread outside the control limits, low (nelson-1)')
  })
})

describe('how bad a point is', () => {
  it('escalates: specification, control limits, run rules', () => {
    expect(locationMark(point(10, 0), 0, version)).toEqual({ priority: 0, side: '' })
    expect(locationMark(point(10, 4), 0, version)).toEqual({ priority: 3, side: 'upper' })
    expect(locationMark(point(10.9, 5), 0, version)).toEqual({ priority: 2, side: 'upper' })
    expect(locationMark(point(11.1, 5), 0, version)).toEqual({ priority: 1, side: 'upper' })
    expect(locationMark(point(8.9, 2), 0, version)).toEqual({ priority: 1, side: 'lower' })
  })

  it('takes exactly on a specification limit as within', () => {
    expect(locationMark(point(11, 0), 0, version).priority).toBe(0)
  })

  it('compares a mean with no specification, but heeds what the server says of its parts', () => {
    const means = { ...version, n: 5 } as Version
    expect(locationMark(point(11.1, 0, 0, 5), 0, means).priority).toBe(0)
    expect(locationMark(point(10, 0, 256, 5), 0, means)).toEqual({ priority: 1, side: 'lower' })
  })

  it('marks nothing that a person excluded', () => {
    expect(locationMark(point(12, 1, 8), 0, version).priority).toBe(0)
    expect(dispersionMark(point(12, 2 ** 48, 8), 0).priority).toBe(0)
  })

  it('marks the spread on its own chart', () => {
    expect(dispersionMark(point(10, 2 ** 48), 0)).toEqual({ priority: 2, side: 'upper' })
    expect(locationMark(point(10, 2 ** 48), 0, version).priority).toBe(0)
  })
})
