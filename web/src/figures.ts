// How the numbers of a characteristic read: its gauge's decimals, and one more for what is computed.
import { decimalsOf, number, type Style } from './format'
import type { Characteristic } from './live/protocol'

/** A value or mean, a limit of it, a range or deviation, a limit of that; a bound that somebody entered. */
export type Figure = 'value' | 'limit' | 'spread' | 'spreadLimit' | 'bound'

type Facts = Pick<Characteristic, 'chart' | 'decimals' | 'n' | 'unit'>

/** Proportions are shown in percent, as sentences tell them. */
export function isShare(facts: Pick<Facts, 'chart'>): boolean {
  return facts.chart === 'p'
}

export function unitOf(facts: Facts): string {
  return isShare(facts) ? '%' : facts.unit
}

/** What is smaller than the last bits of the numbers it was computed from (about `scale`) is nothing. */
export function figure(facts: Facts, kind: Figure, value: number, style: Style, scale = value): string {
  if (Math.abs(value) < 1e-12 * Math.abs(scale)) value = 0
  if (isShare(facts)) return number(100 * value, 2, style)
  return number(value, facts.decimals === null ? null : facts.decimals + finer(facts, kind, value), style)
}

/** A figure with its unit. */
export function withUnit(facts: Facts, kind: Figure, value: number, style: Style, scale = value): string {
  return `${figure(facts, kind, value, style, scale)} ${unitOf(facts)}`.trim()
}

/** How large the numbers are that limits were computed from. */
export function scaleOf({ lcl, ucl }: { lcl: number | null; ucl: number | null }): number {
  return Math.max(Math.abs(lcl ?? 0), Math.abs(ucl ?? 0))
}

function finer(facts: Facts, kind: Figure, value: number): number {
  if (kind === 'value') return facts.n > 1 ? 1 : 0
  // A difference of two readings is as fine as the readings; a deviation is computed.
  if (kind === 'spread') return facts.chart === 'xbar_s' ? 1 : 0
  // A bound is shown as it was entered, also where it is finer than the gauge.
  if (kind === 'bound') return Math.min(4, Math.max(0, decimalsOf(value) - facts.decimals!))
  return 1
}
