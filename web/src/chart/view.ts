// The detail chart: all SPC drawing behind setSeries, append, draw, toPNG, destroy.
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import { decimalsOf, number, time, type Style } from '../format'
import type { Line, Version } from '../live/protocol'
import { EXCLUDED, TRIAL } from '../live/protocol'
import type { Series } from '../live/series'
import type { Stream } from '../live/store'
import { dispersionMark, locationMark } from '../live/violations'
import { offFrame, onFrame } from './frame'
import { breaksBefore, lineAt, sameLine, type Kind } from './lines'
import { COLOR, drawArrow, drawMark } from './marks'

export interface Range {
  /** Places on the axis, both shown. */
  from: number
  to: number
}

export interface Picks {
  style: () => Style
  now: () => number
  hover: (place: number | null) => void
  pick: (place: number) => void
}

interface Label {
  value: number
  text: string
  color: string
}

const RIGHT = 118
const FONT = 'system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'

export class ChartView {
  private readonly plot: uPlot
  private readonly resized: ResizeObserver
  private stream: Stream | null = null
  private range: Range = { from: 0, to: 99 }
  private selected: number | null = null
  private readonly redraw = () => this.draw()

  constructor(
    private readonly host: HTMLElement,
    private readonly kind: Kind,
    private readonly picks: Picks,
    private readonly timeAxis: boolean,
  ) {
    this.plot = new uPlot(this.options(), [[], []], host)
    this.plot.over.addEventListener('click', () => {
      const place = this.placeAt(this.plot.cursor.left ?? -1)
      if (place !== null) this.picks.pick(place)
    })
    this.resized = new ResizeObserver(() => {
      this.plot.setSize(this.size())
      onFrame(this.redraw)
    })
    this.resized.observe(host)
  }

  setSeries(stream: Stream | null): void {
    this.stream = stream
    onFrame(this.redraw)
  }

  /** New or changed points are in the series. */
  append(): void {
    onFrame(this.redraw)
  }

  setRange(range: Range, selected: number | null): void {
    this.range = range
    this.selected = selected
    onFrame(this.redraw)
  }

  draw(): void {
    const series = this.stream?.series
    const length = series?.length ?? 0
    const places = new Float64Array(length)
    for (let i = 0; i < length; i++) places[i] = series!.first + i
    this.plot.setData([places, this.column(series)])
  }

  /** The picture with a title above it, as large as on the screen. */
  async toPNG(title: string[]): Promise<Blob> {
    this.draw()
    const source = this.plot.ctx.canvas
    const ratio = uPlot.pxRatio
    const head = (14 + 20 * title.length) * ratio
    const canvas = document.createElement('canvas')
    canvas.width = source.width
    canvas.height = source.height + head
    const ctx = canvas.getContext('2d')!
    ctx.fillStyle = '#ffffff'
    ctx.fillRect(0, 0, canvas.width, canvas.height)
    ctx.fillStyle = COLOR.ink
    title.forEach((line, i) => {
      ctx.font = `${i === 0 ? 'bold ' : ''}${(i === 0 ? 16 : 12) * ratio}px ${FONT}`
      ctx.fillText(line, 12 * ratio, (22 + 20 * i) * ratio)
    })
    ctx.drawImage(source, 0, head)
    return new Promise((done, fail) =>
      canvas.toBlob((blob) => (blob ? done(blob) : fail(new Error('no picture'))), 'image/png'),
    )
  }

  destroy(): void {
    offFrame(this.redraw)
    this.resized.disconnect()
    this.plot.destroy()
  }

  private options(): uPlot.Options {
    const axis: uPlot.Axis = {
      stroke: COLOR.muted,
      font: `12px ${FONT}`,
      grid: { stroke: 'rgba(21,25,28,0.07)', width: 1 },
      ticks: { show: false },
    }
    return {
      ...this.size(),
      pxAlign: false,
      padding: [14, RIGHT, this.timeAxis ? 0 : 8, 0],
      legend: { show: false },
      cursor: { y: false, points: { show: false }, drag: { x: false, y: false, setScale: false } },
      scales: {
        x: { time: false, range: () => [this.range.from - 0.7, this.range.to + 0.7] },
        y: { range: () => this.yRange() },
      },
      axes: [
        {
          ...axis,
          show: this.timeAxis,
          size: 28,
          space: 110,
          incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500],
          values: (_, splits) => splits.map((place) => this.timeOf(place)),
        },
        {
          ...axis,
          size: 74,
          space: 38,
          values: (_, splits, __, ___, step) =>
            splits.map((value) => number(value, decimalsOf(step), this.picks.style())),
        },
      ],
      series: [{}, { paths: () => null, points: { show: false } }],
      hooks: {
        drawClear: [(plot) => this.kept(plot, () => this.drawGround(plot))],
        draw: [(plot) => this.kept(plot, () => this.drawChart(plot))],
        setCursor: [(plot) => this.picks.hover(this.placeAt(plot.cursor.left ?? -1))],
      },
    }
  }

  private size(): { width: number; height: number } {
    return { width: Math.max(200, this.host.clientWidth), height: Math.max(90, this.host.clientHeight) }
  }

  private column(series: Series | null | undefined): Float64Array {
    if (!series) return new Float64Array(0)
    return (this.kind === 'location' ? series.y : series.d).subarray(0, series.length)
  }

  private placeAt(left: number): number | null {
    const series = this.stream?.series
    if (left < 0 || !series) return null
    const place = Math.round(this.plot.posToVal(left, 'x'))
    return place >= series.first && place < series.first + series.length ? place : null
  }

  private timeOf(place: number): string {
    const series = this.stream?.series
    const ts = series?.ts[place - series.first]
    if (!series || ts === undefined || place - series.first >= series.length) return ''
    return time(ts, this.picks.style(), this.picks.now())
  }

  /** Indexes of the points in sight. */
  private visible(series: Series): [start: number, end: number] {
    const start = Math.max(0, Math.floor(this.range.from) - series.first)
    const end = Math.min(series.length, Math.ceil(this.range.to) - series.first + 1)
    return [start, Math.max(start, end)]
  }

  private proposal(): Version | undefined {
    return Object.values(this.stream?.versions ?? {}).find((version) => version.state === 'proposed')
  }

  private yRange(): [number, number] {
    const series = this.stream?.series
    if (!series || series.length === 0) return [0, 1]
    const values: number[] = []
    const add = (value: number | null | undefined) => {
      if (value !== null && value !== undefined && Number.isFinite(value)) values.push(value)
    }
    const column = this.column(series)
    const [start, end] = this.visible(series)
    let before: Line | null = null
    for (let i = start; i < end; i++) {
      add(column[i])
      const line = lineAt(series, i, this.stream!.versions, this.kind)
      if (line && line !== before) [line.cl, line.lcl, line.ucl].forEach(add)
      before = line
    }
    const spec = this.spec(series)
    add(spec?.lower)
    add(spec?.upper)
    const proposed = this.kind === 'location' ? this.proposal()?.x : null
    add(proposed?.lcl)
    add(proposed?.ucl)
    if (values.length === 0) return [0, 1]
    const low = Math.min(...values)
    const high = Math.max(...values)
    const pad = (high - low) * 0.08 || Math.abs(high) * 0.01 || 1
    return [Math.max(this.floor(), low - pad), high + pad]
  }

  /** What the statistic cannot go below: a range and a proportion have a natural zero. */
  private floor(): number {
    return this.kind === 'dispersion' || this.stream?.characteristic.chart === 'p' ? 0 : -Infinity
  }

  /** The specification stands beside single values; a mean is not a part. */
  private spec(series: Series) {
    if (this.kind !== 'location' || series.length === 0) return null
    const version = this.stream!.versions[series.v[series.length - 1]!]
    return version && version.n === 1 && version.chart !== 'p' ? version.spec : null
  }

  private drawGround(plot: uPlot): void {
    const { ctx, bbox } = plot
    ctx.fillStyle = COLOR.plot
    ctx.fillRect(bbox.left, bbox.top, bbox.width, bbox.height)
    const series = this.stream?.series
    if (!series || this.kind !== 'location') return
    this.clipped(plot, () => {
      this.runs(series, (from, to, line) => {
        if (line.s === null) return
        const band = (low: number, high: number, color: string) => {
          const top = plot.valToPos(high, 'y', true)
          const left = plot.valToPos(from - 0.5, 'x', true)
          ctx.fillStyle = color
          ctx.fillRect(left, top, plot.valToPos(to + 0.5, 'x', true) - left, plot.valToPos(low, 'y', true) - top)
        }
        const { cl, s } = line
        const floor = this.floor()
        band(cl + 2 * s, line.ucl ?? cl + 3 * s, COLOR.zoneA)
        band(cl + s, cl + 2 * s, COLOR.zoneB)
        if (cl - 2 * s > floor) band(Math.max(floor, line.lcl ?? cl - 3 * s), cl - 2 * s, COLOR.zoneA)
        if (cl - s > floor) band(Math.max(floor, cl - 2 * s), cl - s, COLOR.zoneB)
      })
    })
  }

  /** Stretches of visible points with the same limits. */
  private runs(series: Series, each: (from: number, to: number, line: Line, version: number) => void): void {
    const [start, end] = this.visible(series)
    let from = start
    for (let i = start; i < end; i++) {
      const line = lineAt(series, i, this.stream!.versions, this.kind)
      const next = i + 1 < end ? lineAt(series, i + 1, this.stream!.versions, this.kind) : null
      if (i + 1 < end && series.v[i] === series.v[i + 1] && sameLine(line, next)) continue
      if (line) each(series.first + from, series.first + i, line, series.v[i]!)
      from = i + 1
    }
  }

  private drawChart(plot: uPlot): void {
    const series = this.stream?.series
    if (!series || series.length === 0) return
    const labels: Label[] = []
    this.clipped(plot, () => {
      this.drawLimits(plot, series, labels)
      this.drawPoints(plot, series)
    })
    this.drawMarks(plot, series)
    this.drawLabels(plot, labels)
  }

  private drawLimits(plot: uPlot, series: Series, labels: Label[]): void {
    const { ctx } = plot
    const ratio = uPlot.pxRatio
    let last: Line | null = null
    let before = -1
    // One path per version and line, stepped where limits vary with n: a dash goes on over steps.
    const paths: Record<'cl' | 'lcl' | 'ucl', [number, number][]> = { cl: [], lcl: [], ucl: [] }
    const flush = () => {
      const trial = this.stream!.versions[before]?.state === 'trial'
      for (const name of ['cl', 'lcl', 'ucl'] as const) {
        const dash = name === 'cl' ? [] : trial ? [2, 4] : [7, 4]
        if (paths[name].length) this.path(ctx, paths[name], dash, 1.2 * ratio, COLOR.ink)
        paths[name] = []
      }
    }
    this.runs(series, (from, to, line, version) => {
      const left = plot.valToPos(from - 0.5, 'x', true)
      const right = plot.valToPos(to + 0.5, 'x', true)
      if (before !== version) {
        flush()
        if (before !== -1) this.drawPhase(plot, left, `v${version}`)
      }
      for (const name of ['cl', 'lcl', 'ucl'] as const) {
        const value = line[name]
        if (value === null) continue
        const y = plot.valToPos(value, 'y', true)
        paths[name].push([left, y], [right, y])
      }
      before = version
      last = line
    })
    flush()
    if (last) {
      this.limitLabels(last, before, labels)
      this.drawZones(plot, last)
    }
    this.drawOtherLines(plot, series, labels)
  }

  private drawZones(plot: uPlot, line: Line): void {
    if (line.s === null || this.kind !== 'location') return
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
        if (value < this.floor()) continue
        ctx.fillText(zone, bbox.left + 5 * ratio, plot.valToPos(value, 'y', true))
      }
    })
    ctx.textBaseline = 'alphabetic'
  }

  private limitLabels(line: Line, version: number, labels: Label[]): void {
    const state = this.stream!.versions[version]
    const suffix = state?.state === 'trial' ? ' trial' : state?.method === 'given' ? ' given' : ''
    if (line.ucl !== null) labels.push({ value: line.ucl, text: `UCL${suffix}`, color: COLOR.ink })
    labels.push({ value: line.cl, text: 'CL', color: COLOR.ink })
    if (line.lcl !== null) labels.push({ value: line.lcl, text: `LCL${suffix}`, color: COLOR.ink })
  }

  private drawOtherLines(plot: uPlot, series: Series, labels: Label[]): void {
    const { ctx, bbox } = plot
    const ratio = uPlot.pxRatio
    const across = (value: number | null | undefined, dash: number[], text: string, color: string, width: number) => {
      if (value === null || value === undefined) return
      const y = plot.valToPos(value, 'y', true)
      this.path(ctx, [[bbox.left, y], [bbox.left + bbox.width, y]], dash, width * ratio, color) // prettier-ignore
      labels.push({ value, text, color })
    }
    const spec = this.spec(series)
    across(spec?.upper, [1.5, 3], 'USL', COLOR.spec, 2)
    across(spec?.lower, [1.5, 3], 'LSL', COLOR.spec, 2)
    const proposed = this.kind === 'location' ? this.proposal()?.x : null
    across(proposed?.ucl, [8, 3, 2, 3], 'proposed', COLOR.muted, 1)
    across(proposed?.lcl, [8, 3, 2, 3], 'proposed', COLOR.muted, 1)
  }

  private drawPhase(plot: uPlot, x: number, text: string): void {
    const { ctx, bbox } = plot
    const ratio = uPlot.pxRatio
    this.path(ctx, [[x, bbox.top], [x, bbox.top + bbox.height]], [2, 3], ratio, COLOR.muted) // prettier-ignore
    ctx.font = `${11 * ratio}px ${FONT}`
    ctx.fillStyle = COLOR.muted
    ctx.textAlign = 'left'
    ctx.fillText(`limits ${text}`, x + 5 * ratio, bbox.top + 12 * ratio)
  }

  private drawPoints(plot: uPlot, series: Series): void {
    const { ctx } = plot
    const ratio = uPlot.pxRatio
    const column = this.column(series)
    const [start, end] = this.visible(series)
    const spacing = plot.bbox.width / Math.max(1, this.range.to - this.range.from)
    ctx.beginPath()
    let open = false
    for (let i = Math.max(0, start - 1); i < Math.min(series.length, end + 1); i++) {
      const value = column[i]!
      if (series.g[i]! & EXCLUDED || Number.isNaN(value)) {
        if (Number.isNaN(value)) open = false
        continue
      }
      const x = plot.valToPos(series.first + i, 'x', true)
      const y = plot.valToPos(value, 'y', true)
      if (!open || breaksBefore(series, i)) ctx.moveTo(x, y)
      else ctx.lineTo(x, y)
      open = true
    }
    ctx.setLineDash([])
    ctx.strokeStyle = COLOR.line
    ctx.lineWidth = 1.5 * ratio
    ctx.lineJoin = 'round'
    ctx.stroke()
    if (spacing < 5 * ratio) return
    for (let i = start; i < end; i++) {
      if (Number.isNaN(column[i]!)) continue
      const x = plot.valToPos(series.first + i, 'x', true)
      const y = plot.valToPos(column[i]!, 'y', true)
      ctx.beginPath()
      ctx.arc(x, y, (spacing > 9 * ratio ? 2.6 : 2) * ratio, 0, 2 * Math.PI)
      const hollow = (series.g[i]! & EXCLUDED) !== 0
      ctx.fillStyle = hollow ? COLOR.plot : COLOR.ink
      ctx.fill()
      if (hollow) ctx.stroke()
    }
  }

  /** Markers are never clipped away: what is off the scale stands at its edge, with an arrow. */
  private drawMarks(plot: uPlot, series: Series): void {
    const { ctx, bbox } = plot
    const ratio = uPlot.pxRatio
    const column = this.column(series)
    const [start, end] = this.visible(series)
    for (let i = start; i < end; i++) {
      const value = column[i]!
      if (Number.isNaN(value)) continue
      const version = this.stream!.versions[series.v[i]!]
      const mark = this.kind === 'location' ? locationMark(series, i, version) : dispersionMark(series, i)
      const x = plot.valToPos(series.first + i, 'x', true)
      const y = plot.valToPos(value, 'y', true)
      const at = Math.min(bbox.top + bbox.height, Math.max(bbox.top, y))
      if (mark.priority) drawMark(ctx, mark.priority, x, at, 11 * ratio, (series.g[i]! & TRIAL) !== 0)
      if (mark.priority && at !== y) drawArrow(ctx, y < at, x - 12 * ratio, at, 8 * ratio)
      if (series.first + i === this.selected || i === series.length - 1) {
        ctx.beginPath()
        ctx.arc(x, at, 9 * ratio, 0, 2 * Math.PI)
        ctx.lineWidth = (series.first + i === this.selected ? 2.5 : 1.2) * ratio
        ctx.strokeStyle = COLOR.ink
        ctx.setLineDash([])
        ctx.stroke()
      }
    }
  }

  /** Right of the plot, pushed apart where they would overlap. */
  private drawLabels(plot: uPlot, labels: Label[]): void {
    const { ctx, bbox } = plot
    const ratio = uPlot.pxRatio
    const style = this.picks.style()
    const { decimals: own, n, chart } = this.stream!.characteristic
    const finer = this.kind === 'dispersion' || n > 1 ? 1 : 0
    const decimals = chart === 'p' ? 4 : own === null ? null : own + finer
    const placed = labels
      .map((label) => ({ ...label, y: plot.valToPos(label.value, 'y', true) }))
      .filter((label) => label.y >= bbox.top - 2 && label.y <= bbox.top + bbox.height + 2)
      .sort((a, b) => a.y - b.y)
    const gap = 14 * ratio
    for (let pass = 0; pass < 8; pass++) {
      for (let i = 1; i < placed.length; i++) {
        const short = gap - (placed[i]!.y - placed[i - 1]!.y)
        if (short <= 0) continue
        placed[i]!.y += short / 2
        placed[i - 1]!.y -= short / 2
      }
    }
    ctx.textBaseline = 'middle'
    const left = bbox.left + bbox.width + 8 * ratio
    for (const label of placed) {
      ctx.fillStyle = label.color
      ctx.textAlign = 'left'
      ctx.font = `600 ${11 * ratio}px ${FONT}`
      ctx.fillText(label.text, left, label.y)
      const wide = ctx.measureText(label.text).width
      ctx.font = `${11.5 * ratio}px ${FONT}`
      ctx.fillText(number(label.value, decimals, style), left + wide + 6 * ratio, label.y)
    }
    ctx.textBaseline = 'alphabetic'
  }

  private path(
    ctx: CanvasRenderingContext2D,
    points: [number, number][],
    dash: number[],
    width: number,
    color: string,
  ): void {
    ctx.beginPath()
    points.forEach(([x, y], i) => (i ? ctx.lineTo(x, y) : ctx.moveTo(x, y)))
    ctx.setLineDash(dash.map((length) => length * uPlot.pxRatio))
    ctx.lineWidth = width
    ctx.strokeStyle = color
    ctx.stroke()
    ctx.setLineDash([])
  }

  /** uPlot remembers the context's state and does not set it twice. */
  private kept(plot: uPlot, draw: () => void): void {
    plot.ctx.save()
    draw()
    plot.ctx.restore()
  }

  private clipped(plot: uPlot, draw: () => void): void {
    const { ctx, bbox } = plot
    ctx.save()
    ctx.beginPath()
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height)
    ctx.clip()
    draw()
    ctx.restore()
  }
}
