// The newest points of one stream in columns: typed arrays that shift, so that nothing is garbage.
import type { OwnLines, Row, Snap, Update } from './protocol'

const NUMBERS = ['ts', 'y', 'd', 'n', 'v', 'f', 'g'] as const

export class Series {
  readonly ts: Float64Array
  readonly y: Float64Array
  readonly d: Float64Array // NaN: none
  readonly n: Float64Array
  readonly v: Float64Array
  readonly f: Float64Array
  readonly g: Float64Array
  readonly x: (number | string)[] = []
  readonly l: (OwnLines | null)[] = []
  length = 0
  /** Points that have left the window: the place of point i on the axis is first + i. */
  first = 0
  seq = 0
  partial = false

  constructor(readonly window: number) {
    this.ts = new Float64Array(window)
    this.y = new Float64Array(window)
    this.d = new Float64Array(window)
    this.n = new Float64Array(window)
    this.v = new Float64Array(window)
    this.f = new Float64Array(window)
    this.g = new Float64Array(window)
  }

  /** Takes the places of the points that were known before: a chart that is paused stands still. */
  static of(snap: Snap, window: number, before: Series | null = null): Series {
    const series = new Series(Math.max(window, snap.ts.length))
    series.ts.set(snap.ts)
    series.y.set(snap.y)
    series.d.set(snap.d.map((d) => d ?? NaN))
    series.n.set(snap.n)
    series.v.set(snap.v)
    series.f.set(snap.f)
    series.g.set(snap.g)
    series.x.push(...snap.x)
    series.l.push(...snap.ts.map((_, i) => snap.l[i] ?? null))
    series.length = snap.ts.length
    series.seq = snap.seq
    series.partial = snap.partial
    if (before && before.length > 0) series.first = before.first + series.offsetTo(before)
    return series
  }

  /** How many places further a series begins that knows the newest of the same points. */
  private offsetTo(before: Series): number {
    for (let i = before.length - 1; i >= 0; i--) {
      const [place, found] = this.find(before.ts[i]!, before.x[i]!)
      if (found) return i - place
    }
    return before.length
  }

  /** Take a row: 'ignored' was there already, 'gap' means something is missing before it. */
  append(row: Row): 'taken' | 'ignored' | 'gap' {
    const verdict = this.next(row[1])
    if (verdict === 'taken') {
      if (this.length === this.window) this.drop(0, true)
      this.put(this.length, row)
      this.length += 1
    }
    return verdict
  }

  /** Take a change of the past. */
  update(change: Update): 'taken' | 'ignored' | 'gap' {
    const verdict = this.next(change.seq)
    if (verdict !== 'taken') return verdict
    const { c, seq, ts, y, f, x, d, n, v, g, l } = change
    const row: Row = [c, seq, ts, y, f, x, d, n, v, g, l ?? null]
    const [place, found] = this.find(ts, x)
    if (change.rev === 'withdrawn') {
      if (found) this.drop(place, false)
    } else if (found) {
      this.put(place, row)
    } else if (place > 0 || this.length < this.window) {
      if (change.rev === 'inserted') this.insert(place, row)
    }
    return verdict
  }

  private next(seq: number): 'taken' | 'ignored' | 'gap' {
    if (seq <= this.seq) return 'ignored'
    if (seq > this.seq + 1) return 'gap'
    this.seq = seq
    return 'taken'
  }

  private find(ts: number, x: number | string): [place: number, found: boolean] {
    for (let i = this.length - 1; i >= 0; i--) {
      const order = this.ts[i]! - ts || compareKeys(this.x[i]!, x)
      if (order === 0) return [i, true]
      if (order < 0) return [i + 1, false]
    }
    return [0, false]
  }

  private insert(place: number, row: Row): void {
    if (this.length === this.window) {
      this.drop(0, true)
      place -= 1
    }
    for (const name of NUMBERS) this[name].copyWithin(place + 1, place, this.length)
    this.x.splice(place, 0, row[5])
    this.l.splice(place, 0, row[10] ?? null)
    this.put(place, row)
    this.length += 1
  }

  private drop(place: number, evicted: boolean): void {
    for (const name of NUMBERS) this[name].copyWithin(place, place + 1, this.length)
    this.x.splice(place, 1)
    this.l.splice(place, 1)
    this.length -= 1
    if (evicted) this.first += 1
  }

  private put(i: number, row: Row): void {
    this.ts[i] = row[2]
    this.y[i] = row[3]
    this.f[i] = row[4]
    this.x[i] = row[5]
    this.d[i] = row[6] ?? NaN
    this.n[i] = row[7]
    this.v[i] = row[8]
    this.g[i] = row[9]
    this.l[i] = row[10] ?? null
  }
}

function compareKeys(a: number | string, b: number | string): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b
  const difference = BigInt(a) - BigInt(b)
  return difference < 0n ? -1 : difference > 0n ? 1 : 0
}
