// Which limits hold for which point: those of the version that judged it, at its own n.
import type { Line, Version } from '../live/protocol'
import type { Series } from '../live/series'

export type Kind = 'location' | 'dispersion'
export type LimitName = 'cl' | 'lcl' | 'ucl'

/** What a statistic cannot go below: a range and a proportion have a natural zero. */
export function floorOf(kind: Kind, chart: string | undefined): number {
  return kind === 'dispersion' || chart === 'p' ? 0 : -Infinity
}

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

/** The location limits that a version sets for n inspected parts; other charts have those of their own n. */
export function limitsFor(version: Version, n: number): Line | null {
  const line = version.x
  if (!line || version.chart !== 'p' || line.s === null || n <= 0) return line
  const s = line.s * Math.sqrt(version.n / n)
  const lcl = line.cl - 3 * s
  return { cl: line.cl, lcl: lcl > 0 ? lcl : null, ucl: Math.min(1, line.cl + 3 * s), s }
}

/** Whether the drawn line breaks before point i. */
export function breaksBefore(series: Series, i: number): boolean {
  return i === 0 || (series.g[i]! & 1) === 1
}

export function sameLine(a: Line | null, b: Line | null): boolean {
  return a === b || (!!a && !!b && a.cl === b.cl && a.lcl === b.lcl && a.ucl === b.ucl && a.s === b.s)
}

/** Neighbouring points of one version with the same limits. */
export interface Run {
  start: number
  end: number
  line: Line
  version: number
}

export function runsOf(
  series: Series,
  start: number,
  end: number,
  versions: Record<string, Version>,
  kind: Kind,
): Run[] {
  const runs: Run[] = []
  for (let i = start; i < end; i++) {
    const line = lineAt(series, i, versions, kind)
    if (!line) continue
    const version = series.v[i]!
    const last = runs.at(-1)
    if (last && last.end === i && last.version === version && sameLine(last.line, line)) last.end = i + 1
    else runs.push({ start: i, end: i + 1, line, version })
  }
  return runs
}

export interface Step {
  start: number
  end: number
  value: number
}

/**
 * One limit as lines to draw, stepped where it varies with n, broken where the version changes or points
 * have no limits. Where only some n are large enough for a lower limit it goes on along the floor, below
 * which no point can lie: pieces of a line would look like a fault.
 */
export function stepsOf(runs: Run[], name: LimitName, floor: number): Step[][] {
  const lines: Step[][] = []
  const steady = new Set<number>()
  if (name === 'lcl' && floor > -Infinity) {
    for (const run of runs) if (run.line.lcl !== null) steady.add(run.version)
  }
  let before: Run | null = null
  for (const run of runs) {
    const value = run.line[name] ?? (steady.has(run.version) ? floor : null)
    const joined = before?.end === run.start && before.version === run.version
    before = value === null ? null : run
    if (value === null) continue
    const step = { start: run.start, end: run.end, value }
    if (joined) lines.at(-1)!.push(step)
    else lines.push([step])
  }
  return lines
}
