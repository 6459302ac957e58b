import { describe, expect, it } from 'vitest'
import { floorOf, limitsFor, runsOf, stepsOf } from '../src/chart/lines'
import type { OwnLines, Snap, Version } from '../src/live/protocol'
import { Series } from '../src/live/series'

function share(number: number): Version {
  const s = Math.sqrt(0.04 * 0.96)
  return { number, chart: 'p', n: 1, x: { cl: 0.04, lcl: null, ucl: 0.04 + 3 * s, s }, d: null } as unknown as Version
}

const versions = { 1: share(1), 2: share(2) }

/** Points of these sizes; 240 parts are enough for a lower limit, 200 are not. */
function inspected(sizes: number[], judges: number[] = sizes.map(() => 1)): Series {
  const l: Record<string, OwnLines> = {}
  sizes.forEach((n, i) => {
    const line = limitsFor(versions[1], n)!
    l[i] = [line.lcl, line.ucl, line.s, null, null, null]
  })
  const zeros = sizes.map(() => 0)
  const snap = {
    t: 'snap', c: 'c', seq: 1, partial: false, limits_version: 1, versions: {}, x: sizes.map((_, i) => i),
    ts: sizes.map((_, i) => i), y: sizes.map(() => 0.04), d: zeros, n: sizes, v: judges, f: zeros, g: zeros, l,
  } // prettier-ignore
  return Series.of(snap as unknown as Snap, 100)
}

function lower(series: Series, floor = floorOf('location', 'p')) {
  return stepsOf(runsOf(series, 0, series.length, versions, 'location'), 'lcl', floor)
}

describe('limits of a proportion', () => {
  it('follow from the number of parts', () => {
    expect(limitsFor(versions[1], 240)!.lcl).toBeCloseTo(0.00205, 5)
    expect(limitsFor(versions[1], 240)!.ucl).toBeCloseTo(0.07795, 5)
    expect(limitsFor(versions[1], 200)!.lcl).toBeNull()
    expect(limitsFor(versions[1], 1)!.ucl).toBeCloseTo(0.6279, 4)
  })
})

describe('a lower limit that only some points have', () => {
  it('is one line, along the floor where there is none', () => {
    const lines = lower(inspected([200, 240, 200, 200, 240]))
    expect(lines).toHaveLength(1)
    expect(lines[0]!.map((step) => [step.start, step.end])).toEqual([[0, 1], [1, 2], [2, 4], [4, 5]]) // prettier-ignore
    expect(lines[0]!.map((step) => step.value > 0)).toEqual([false, true, false, true])
  })

  it('is not drawn where no point has one', () => {
    expect(lower(inspected([200, 200, 190]))).toEqual([])
  })

  it('is broken where nothing bounds the statistic', () => {
    expect(lower(inspected([240, 200, 240]), -Infinity)).toHaveLength(2)
  })

  it('belongs to its version', () => {
    const lines = lower(inspected([240, 200, 200, 200], [1, 1, 2, 2]))
    expect(lines).toHaveLength(1)
    expect(lines[0]!.at(-1)!.end).toBe(2)
  })
})

describe('limits that change', () => {
  it('are stepped by version and joined within one', () => {
    const runs = runsOf(inspected([240, 240, 240], [1, 1, 2]), 0, 3, versions, 'location')
    expect(runs.map(({ start, end, version }) => [start, end, version])).toEqual([[0, 2, 1], [2, 3, 2]]) // prettier-ignore
    expect(stepsOf(runs, 'ucl', 0)).toHaveLength(2)
  })
})
