import { describe, expect, it } from 'vitest'
import type { Row, Snap, Update } from '../src/live/protocol'
import { Series } from '../src/live/series'

const row = (seq: number, ts: number, y = ts, x: number | string = seq): Row => ['c', seq, ts, y, 0, x, null, 1, 1, 0]
const change = (rev: Update['rev'], seq: number, ts: number, y: number, x: number | string): Update => ({
  t: 'upd', rev, c: 'c', seq, ts, y, f: 0, x, d: null, n: 1, v: 1, g: 0,
}) // prettier-ignore

function snap(points: number): Snap {
  const all = Array.from({ length: points }, (_, i) => i + 1)
  return {
    t: 'snap', c: 'c', seq: points, partial: false, limits_version: 1, versions: {},
    x: all, ts: all, y: all.map((i) => i * 10), d: all.map((i) => (i === 1 ? null : 1)),
    n: all.map(() => 1), v: all.map(() => 1), f: all.map(() => 0), g: all.map(() => 0),
    l: { '1': [1, 2, 3, null, null, null] },
  } // prettier-ignore
}

const shown = (series: Series) => [...series.ts.subarray(0, series.length)]

describe('a series', () => {
  it('starts from a snapshot', () => {
    const series = Series.of(snap(3), 5)
    expect(shown(series)).toEqual([1, 2, 3])
    expect(series.d[0]).toBeNaN()
    expect(series.l[1]).toEqual([1, 2, 3, null, null, null])
    expect(series.l[0]).toBeNull()
  })

  it('takes the next, ignores the old, and notices a gap', () => {
    const series = Series.of(snap(3), 5)
    expect(series.append(row(3, 3))).toBe('ignored')
    expect(series.append(row(5, 5))).toBe('gap')
    expect(series.append(row(4, 4))).toBe('taken')
    expect(shown(series)).toEqual([1, 2, 3, 4])
  })

  it('slides, and counts what left so that places on the axis stand still', () => {
    const series = Series.of(snap(3), 3)
    for (let seq = 4; seq <= 10; seq++) series.append(row(seq, seq))
    expect(shown(series)).toEqual([8, 9, 10])
    expect(series.x).toEqual([8, 9, 10])
    expect(series.l).toEqual([null, null, null])
    expect(series.first).toBe(7)
  })

  it('corrects, withdraws and inserts by time and key', () => {
    const series = Series.of(snap(4), 10)
    expect(series.update(change('corrected', 5, 2, 99, 2))).toBe('taken')
    expect(series.y[1]).toBe(99)
    series.update(change('withdrawn', 6, 3, 0, 3))
    expect(shown(series)).toEqual([1, 2, 4])
    series.update(change('inserted', 7, 2.5, 7, 9))
    expect(shown(series)).toEqual([1, 2, 2.5, 4])
    expect(series.update(change('inserted', 9, 2.6, 7, 9))).toBe('gap')
    expect(series.seq).toBe(7)
  })

  it('orders equal times by key, 64-bit keys too', () => {
    const series = Series.of({ ...snap(0), seq: 0 }, 10)
    series.append(row(1, 5, 1, '9007199254740993'))
    series.update(change('inserted', 2, 5, 2, '9007199254740992'))
    series.update(change('inserted', 3, 5, 3, 7))
    expect(series.x).toEqual([7, '9007199254740992', '9007199254740993'])
  })

  it('ends in the same picture as a fresh load after a full window was changed', () => {
    const series = Series.of(snap(3), 3)
    series.update(change('inserted', 4, 2.5, 1, 50))
    expect(shown(series)).toEqual([2, 2.5, 3])
    series.update(change('inserted', 5, 0.5, 1, 51))
    expect(shown(series)).toEqual([2, 2.5, 3])
    series.update(change('corrected', 6, 0.1, 1, 52))
    expect(shown(series)).toEqual([2, 2.5, 3])
  })

  it('keeps the places of points that a new snapshot repeats', () => {
    const before = Series.of(snap(6), 6)
    const all = snap(9)
    const { x, ts, y, d, n, v, f, g } = all
    const later = { x, ts, y, d, n, v, f, g }
    const newest = Object.entries(later).map(([name, column]) => [name, column.slice(3)])
    const healed = Series.of({ ...all, ...Object.fromEntries(newest) } as Snap, 6, before)
    expect(healed.first).toBe(3)
    expect(shown(healed)).toEqual([4, 5, 6, 7, 8, 9])
    expect(Series.of(snap(9), 20, before).first).toBe(0)
    const longer = Series.of(snap(6), 20, healed)
    expect(longer.first + 5).toBe(healed.first + 2) // where 6 was, 6 is
  })

  it('goes on behind the last place when nothing is repeated', () => {
    const away = snap(9)
    away.ts = away.ts.map((ts) => ts + 100)
    expect(Series.of(away, 20, Series.of(snap(6), 6)).first).toBe(6)
  })
})
