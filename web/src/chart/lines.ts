// Which limits hold for which point: those of the version that judged it, at its own n.
import type { Line, Version } from '../live/protocol'
import type { Series } from '../live/series'

export type Kind = 'location' | 'dispersion'

export function lineAt(
  series: Series,
  i: number,
  versions: Record<string, Version>,
  kind: Kind,
): Line | null {
  const version = versions[series.v[i]!]
  const line = kind === 'location' ? version?.x : version?.d
  if (!line) return null
  const own = series.l[i]
  if (!own) return line
  if (kind === 'location') return { cl: line.cl, lcl: own[0]!, ucl: own[1]!, s: own[2]! }
  if (own[3] === null || own[3] === undefined) return null
  return { cl: own[3], lcl: own[4]!, ucl: own[5]!, s: null }
}

/** Whether the drawn line breaks before point i. */
export function breaksBefore(series: Series, i: number): boolean {
  return i === 0 || (series.g[i]! & 1) === 1
}

export function sameLine(a: Line | null, b: Line | null): boolean {
  return a === b || (!!a && !!b && a.cl === b.cl && a.lcl === b.lcl && a.ucl === b.ucl && a.s === b.s)
}
