// Numbers and times as the site writes them: its locale and zone, never the browser's.

export interface Style {
  locale: string
  timezone: string
}

const formats = new Map<string, Intl.NumberFormat>()
const stamps = new Map<string, Intl.DateTimeFormat>()

export function number(value: number, decimals: number | null, style: Style): string {
  const key = `${style.locale}/${decimals}`
  let format = formats.get(key)
  if (!format) {
    const digits = decimals === null ? { maximumSignificantDigits: 6 } : fixed(decimals)
    format = new Intl.NumberFormat(style.locale, { ...digits, useGrouping: false, signDisplay: 'negative' })
    formats.set(key, format)
  }
  return format.format(value).replace('-', '−')
}

function fixed(decimals: number) {
  return { minimumFractionDigits: decimals, maximumFractionDigits: decimals }
}

/** Decimals that tell steps of this size apart: 0.025 needs three. */
export function decimalsOf(step: number): number {
  let decimals = 0
  while (decimals < 12 && Math.abs(step * 10 ** decimals - Math.round(step * 10 ** decimals)) > 1e-9) {
    decimals += 1
  }
  return decimals
}

function stamp(style: Style, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = `${style.locale}/${style.timezone}/${JSON.stringify(options)}`
  let format = stamps.get(key)
  if (!format) {
    format = new Intl.DateTimeFormat(style.locale, { ...options, timeZone: style.timezone, hourCycle: 'h23' })
    stamps.set(key, format)
  }
  return format
}

const DAY: Intl.DateTimeFormatOptions = { year: 'numeric', month: '2-digit', day: '2-digit' }
const CLOCK: Intl.DateTimeFormatOptions = { hour: '2-digit', minute: '2-digit', second: '2-digit' }

export function day(ms: number, style: Style): string {
  return stamp(style, DAY).format(ms)
}

/** The zone's short name at that moment, such as CET or CEST. */
export function zone(ms: number, style: Style): string {
  const parts = stamp({ ...style, locale: 'en-GB' }, { timeZoneName: 'short' }).formatToParts(ms)
  return parts.find((part) => part.type === 'timeZoneName')?.value ?? style.timezone
}

/** An hour that somebody chose, to the minute; the date too where it is not today's. */
export function hourAndMinute(ms: number, style: Style, now: number): string {
  const clock = stamp(style, { hour: '2-digit', minute: '2-digit' }).format(ms)
  const dated = day(ms, style) === day(now, style) ? clock : `${day(ms, style)} ${clock}`
  return repeated(ms, style) ? `${dated} ${zone(ms, style)}` : dated
}

/** Hours, minutes and seconds; the date too where it is not today's; the zone in a repeated hour. */
export function time(ms: number, style: Style, now: number): string {
  const clock = stamp(style, CLOCK).format(ms)
  const dated = day(ms, style) === day(now, style) ? clock : `${day(ms, style)} ${clock}`
  return repeated(ms, style) ? `${dated} ${zone(ms, style)}` : dated
}

/** Whether the clock shows this hour twice, because it is set back. */
export function repeated(ms: number, style: Style): boolean {
  const shown = (at: number) => `${day(at, style)} ${stamp(style, CLOCK).format(at)}`
  return shown(ms) === shown(ms + 3_600_000) || shown(ms) === shown(ms - 3_600_000)
}

export function age(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000))
  if (seconds < 60) return `${seconds} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`
  return `${Math.floor(seconds / 86400)} d`
}
