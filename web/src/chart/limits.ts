// What stands behind the points of the detail chart: zones, limits by version, phases, labels.
import uPlot from 'uplot'
import { figure, scaleOf, unitOf, type Figure } from '../figures'
import type { Style } from '../format'
import type { Line, Spec, Version } from '../live/protocol'
import type { Series } from '../live/series'
import type { Stream } from '../live/store'
import { floorOf, limitsFor, runsOf, stepsOf, type Kind, type LimitName, type Run, type Step } from './lines'
import { COLOR } from './marks'

export const FONT = 'system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'

/** What is in sight: the points from start to end, with the limits that judged them. */
export interface Scene {
  stream: Stream
  series: Series
  kind: Kind
  runs: Run[]
  floor: number
  spec: Spec | null
  proposed: Line | null
}

interface Label {
  value: number
  name: string
  text: string
  color: string
}

export function sceneOf(stream: Stream, kind: Kind, start: number, end: number): Scene | null {
  const { series, versions } = stream
  if (!series || series.length === 0) return null
  return {
    stream,
    series,
    kind,
    runs: runsOf(series, start, end, versions, kind),
    floor: floorOf(kind, stream.characteristic.chart),
    spec: kind === 'location' ? specOf(stream, series) : null,
    proposed: kind === 'location' ? proposedOf(stream, series) : null,
  }
}

/** The specification stands beside single values; a mean is not a part. */
function specOf(stream: Stream, series: Series): Spec | null {
  const version = stream.versions[series.v[series.length - 1]!]
  return version && version.n === 1 && version.chart !== 'p' ? version.spec : null
}

function proposedOf(stream: Stream, series: Series): Line | null {
  const version = Object.values(stream.versions).find((one) => one.state === 'proposed')
  return version ? limitsFor(version, series.n[series.length - 1]!) : null
}

export function drawZones(plot: uPlot, scene: Scene): void {
  if (scene.kind !== 'location') return
  const { ctx } = plot
  const { series, floor } = scene
  for (const { start, end, line } of scene.runs) {
    if (line.s === null) continue
    const { cl, s } = line
    const left = plot.valToPos(series.first + start - 0.5, 'x', true)
    const right = plot.valToPos(series.first + end - 0.5, 'x', true)
    const band = (low: number, high: number, color: string) => {
      if (high <= floor) return
      const top = plot.valToPos(high, 'y', true)
      ctx.fillStyle = color
      ctx.fillRect(left, top, right - left, plot.valToPos(Math.max(low, floor), 'y', true) - top)
    }
    band(cl + 2 * s, line.ucl ?? cl + 3 * s, COLOR.zoneA)
    band(cl + s, cl + 2 * s, COLOR.zoneB)
    band(cl - 2 * s, cl - s, COLOR.zoneB)
    band(line.lcl ?? cl - 3 * s, cl - 2 * s, COLOR.zoneA)
  }
}

/** Every line of the scene, and a label for each at the right. */
export function drawLimits(plot: uPlot, scene: Scene, style: Style): void {
  const labels: Label[] = []
  clipped(plot, () => {
    for (const name of ['cl', 'lcl', 'ucl'] as const) {
      for (const line of stepsOf(scene.runs, name, scene.floor)) drawLine(plot, scene, name, line)
    }
    drawPhases(plot, scene)
    const last = scene.runs.at(-1)
    if (last) limitLabels(scene, last, labels, style)
    if (scene.runs[0]) zoneLetters(plot, scene, scene.runs[0].line) // at the left: those of the first point
    drawOthers(plot, scene, labels, style)
  })
  drawLabels(plot, labels)
}

function drawLine(plot: uPlot, scene: Scene, name: LimitName, line: Step[]): void {
  const { series, stream } = scene
  const trial = stream.versions[series.v[line[0]!.start]!]?.state === 'trial'
  const lowest = plot.bbox.top + plot.bbox.height - uPlot.pxRatio // a line on the axis is not cut in half
  const points = line.flatMap(({ start, end, value }): [number, number][] => {
    const y = Math.min(lowest, plot.valToPos(value, 'y', true))
    return [
      [plot.valToPos(series.first + start - 0.5, 'x', true), y],
      [plot.valToPos(series.first + end - 0.5, 'x', true), y],
    ]
  })
  stroke(plot.ctx, points, name === 'cl' ? [] : trial ? [2, 4] : [7, 4], 1.2, COLOR.ink)
}

function drawPhases(plot: uPlot, scene: Scene): void {
  const { ctx, bbox } = plot
  const ratio = uPlot.pxRatio
  scene.runs.forEach((run, i) => {
    if (i === 0 || scene.runs[i - 1]!.version === run.version) return
    const x = plot.valToPos(scene.series.first + run.start - 0.5, 'x', true)
    stroke(ctx, [[x, bbox.top], [x, bbox.top + bbox.height]], [2, 3], 1, COLOR.muted) // prettier-ignore
    ctx.font = `${11 * ratio}px ${FONT}`
    ctx.fillStyle = COLOR.muted
    const text = `limits v${run.version}`
    const fits = x + 8 * ratio + ctx.measureText(text).width < bbox.left + bbox.width
    ctx.textAlign = fits ? 'left' : 'right'
    ctx.fillText(text, x + (fits ? 5 : -5) * ratio, bbox.top + 12 * ratio)
  })
}

function zoneLetters(plot: uPlot, scene: Scene, line: Line): void {
  if (line.s === null || scene.kind !== 'location') return
  const { ctx, bbox } = plot
  const ratio = uPlot.pxRatio
  const tall = plot.valToPos(line.cl, 'y', true) - plot.valToPos(line.cl + line.s, 'y', true)
  if (tall < 16 * ratio) return
  ctx.font = `${10.5 * ratio}px ${FONT}`
  ctx.fillStyle = '#6d777e'
  ctx.textAlign = 'left'
  ctx.textBaseline = 'middle'
  ;['C', 'B', 'A'].forEach((zone, i) => {
    for (const side of [1, -1]) {
      const value = line.cl + side * (i + 0.5) * line.s!
      if (value < scene.floor) continue
      ctx.fillText(zone, bbox.left + 5 * ratio, plot.valToPos(value, 'y', true))
    }
  })
  ctx.textBaseline = 'alphabetic'
}

function limitLabels(scene: Scene, last: Run, labels: Label[], style: Style): void {
  const facts = scene.stream.characteristic
  const version: Version | undefined = scene.stream.versions[last.version]
  const suffix = version?.state === 'trial' ? ' trial' : version?.method === 'given' ? ' given' : ''
  const kind: Figure = scene.kind === 'location' ? 'limit' : 'spreadLimit'
  const unit = unitOf(facts) === '%' ? ' %' : ''
  const add = (value: number, name: string) =>
    labels.push({ value, name, text: figure(facts, kind, value, style, scaleOf(last.line)) + unit, color: COLOR.ink })
  const { cl, lcl, ucl } = last.line
  if (ucl !== null) add(ucl, `UCL${suffix}`)
  add(cl, 'CL')
  if (lcl !== null) add(lcl, `LCL${suffix}`)
  else if (stepsOf(scene.runs, 'lcl', scene.floor).at(-1)?.at(-1)?.end === last.end) {
    labels.push({ value: scene.floor, name: 'LCL', text: 'none', color: COLOR.ink })
  }
}

function drawOthers(plot: uPlot, scene: Scene, labels: Label[], style: Style): void {
  const { ctx, bbox } = plot
  const facts = scene.stream.characteristic
  const percent = unitOf(facts) === '%' ? ' %' : ''
  const scale = Math.max(0, ...scene.runs.map(({ line }) => scaleOf(line)))
  const across = (value: number | null | undefined, kind: Figure, dash: number[], name: string, color: string, width: number) => {
    if (value === null || value === undefined) return
    const y = plot.valToPos(value, 'y', true)
    stroke(ctx, [[bbox.left, y], [bbox.left + bbox.width, y]], dash, width, color) // prettier-ignore
    labels.push({ value, name, text: figure(facts, kind, value, style, scale) + percent, color })
  }
  across(scene.spec?.upper, 'bound', [1.5, 3], 'USL', COLOR.spec, 2)
  across(scene.spec?.lower, 'bound', [1.5, 3], 'LSL', COLOR.spec, 2)
  for (const name of ['ucl', 'cl', 'lcl'] as const) {
    across(scene.proposed?.[name], 'limit', [8, 3, 2, 3], 'PROPOSED', COLOR.muted, 1)
  }
}

/** Right of the plot, pushed apart where they would overlap. */
function drawLabels(plot: uPlot, labels: Label[]): void {
  const { ctx, bbox } = plot
  const ratio = uPlot.pxRatio
  const placed = labels
    .map((label) => ({ ...label, y: plot.valToPos(label.value, 'y', true) }))
    .filter((label) => label.y >= bbox.top - 2 && label.y <= bbox.top + bbox.height + 2)
    .sort((a, b) => a.y - b.y)
  spread(placed, 14 * ratio)
  ctx.textBaseline = 'middle'
  ctx.textAlign = 'left'
  const left = bbox.left + bbox.width + 8 * ratio
  for (const label of placed) {
    ctx.fillStyle = label.color
    ctx.font = `600 ${11 * ratio}px ${FONT}`
    ctx.fillText(label.name, left, label.y)
    const wide = ctx.measureText(label.name).width
    ctx.font = `${11.5 * ratio}px ${FONT}`
    ctx.fillText(label.text, left + wide + 6 * ratio, label.y)
  }
  ctx.textBaseline = 'alphabetic'
}

function spread(placed: { y: number }[], gap: number): void {
  for (let pass = 0; pass < 8; pass++) {
    for (let i = 1; i < placed.length; i++) {
      const short = gap - (placed[i]!.y - placed[i - 1]!.y)
      if (short <= 0) continue
      placed[i]!.y += short / 2
      placed[i - 1]!.y -= short / 2
    }
  }
}

function stroke(ctx: CanvasRenderingContext2D, points: [number, number][], dash: number[], width: number, color: string): void {
  ctx.beginPath()
  points.forEach(([x, y], i) => (i ? ctx.lineTo(x, y) : ctx.moveTo(x, y)))
  ctx.setLineDash(dash.map((length) => length * uPlot.pxRatio))
  ctx.lineWidth = width * uPlot.pxRatio
  ctx.strokeStyle = color
  ctx.stroke()
  ctx.setLineDash([])
}

export function clipped(plot: uPlot, draw: () => void): void {
  const { ctx, bbox } = plot
  ctx.save()
  ctx.beginPath()
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height)
  ctx.clip()
  draw()
  ctx.restore()
}
