// The bits of f in words, and how bad a point is.
import type { Series } from './series'
import { ABOVE_SPEC, BELOW_SPEC, EXCLUDED, type Version } from './protocol'

export type Side = 'upper' | 'lower' | ''
export interface Violation {
  rule: string
  chart: 'location' | 'dispersion'
  side: Side
}

const RULES = [1, 2, 3, 4, 5, 6, 7, 8].map((i) => `nelson-${i}`).concat([1, 2, 3, 4].map((i) => `we-${i}`))
const SIDELESS = new Set(['nelson-4', 'nelson-7', 'nelson-8'])
const WORDS: Record<string, string> = {
  'nelson-1': 'outside the control limits',
  'nelson-2': '9 in a row on one side',
  'nelson-3': '6 in a row rising or falling',
  'nelson-4': '14 in a row alternating',
  'nelson-5': '2 of 3 beyond 2 sigma',
  'nelson-6': '4 of 5 beyond 1 sigma',
  'nelson-7': '15 in a row within 1 sigma',
  'nelson-8': '8 in a row outside 1 sigma',
  'we-1': 'outside the control limits',
  'we-2': '2 of 3 beyond 2 sigma',
  'we-3': '4 of 5 beyond 1 sigma',
  'we-4': '8 in a row on one side',
}

/** f holds 50 bits: JavaScript shifts only 32, so divide. */
export function bit(mask: number, place: number): boolean {
  return Math.floor(mask / 2 ** place) % 2 === 1
}

export function decode(mask: number): Violation[] {
  const found: Violation[] = []
  if (mask === 0) return found
  for (let code = 0; code < 24; code++) {
    const upper = bit(mask, 2 * code)
    const lower = bit(mask, 2 * code + 1)
    if (!upper && !lower) continue
    const rule = RULES[code] ?? `rule ${code}`
    const side = SIDELESS.has(rule) || (upper && lower) ? '' : upper ? 'upper' : 'lower'
    found.push({ rule, chart: 'location', side })
  }
  if (bit(mask, 48)) found.push({ rule: 'nelson-1', chart: 'dispersion', side: 'upper' })
  if (bit(mask, 49)) found.push({ rule: 'nelson-1', chart: 'dispersion', side: 'lower' })
  return found
}

export function inWords(violation: Violation): string {
  const what = WORDS[violation.rule] ?? violation.rule
  const on = violation.chart === 'dispersion' ? 'spread ' : ''
  const side = violation.side === 'upper' ? ', high' : violation.side === 'lower' ? ', low' : ''
  return `${on}${what}${side} (${violation.rule})`
}

export interface Mark {
  /** 1 outside specification, 2 outside control limits, 3 run rule; 0: nothing. */
  priority: 0 | 1 | 2 | 3
  side: Side
}

const NOTHING: Mark = { priority: 0, side: '' }

export function specSide(series: Series, i: number, version: Version | undefined): Side {
  const flags = series.g[i]!
  if (flags & ABOVE_SPEC) return 'upper'
  if (flags & BELOW_SPEC) return 'lower'
  const spec = version?.spec
  if (!spec || series.n[i] !== 1 || version.chart === 'p') return ''
  if (spec.upper !== null && series.y[i]! > spec.upper) return 'upper'
  if (spec.lower !== null && series.y[i]! < spec.lower) return 'lower'
  return ''
}

/** How a point is marked on its location chart. */
export function locationMark(series: Series, i: number, version: Version | undefined): Mark {
  if (series.g[i]! & EXCLUDED) return NOTHING
  const spec = specSide(series, i, version)
  if (spec) return { priority: 1, side: spec }
  const mask = series.f[i]!
  if (mask === 0) return NOTHING
  const found = decode(mask).filter((one) => one.chart === 'location')
  const beyond = found.find((one) => one.rule === 'nelson-1' || one.rule === 'we-1')
  if (beyond) return { priority: 2, side: beyond.side }
  return found[0] ? { priority: 3, side: found[0].side } : NOTHING
}

export function dispersionMark(series: Series, i: number): Mark {
  if (series.g[i]! & EXCLUDED) return NOTHING
  const mask = series.f[i]!
  if (bit(mask, 48)) return { priority: 2, side: 'upper' }
  if (bit(mask, 49)) return { priority: 2, side: 'lower' }
  return NOTHING
}
