// The detail chart: all SPC drawing behind setSeries, append, draw, toPNG, destroy.
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import { isShare } from '../figures'
import { decimalsOf, number, time, type Style } from '../format'
import { EXCLUDED, TRIAL } from '../live/protocol'
import type { Series } from '../live/series'
import type { Stream } from '../live/store'
import { dispersionMark, locationMark } from '../live/violations'
import { offFrame, onFrame } from './frame'
import { clipped, drawLimits, drawZones, FONT, sceneOf, type Scene } from './limits'
import { breaksBefore, floorOf, type Kind } from './lines'
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

const RIGHT = 138

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
            splits.map((value) => this.tick(value, step)),
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

  /** As many decimals as the step needs; proportions in percent. */
  private tick(value: number, step: number): string {
    const facts = this.stream?.characteristic
    const factor = facts && isShare(facts) ? 100 : 1
    const text = number(value * factor, decimalsOf(step * factor), this.picks.style())
    return factor === 1 ? text : `${text} %`
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

  private yRange(): [number, number] {
    const series = this.stream?.series
    if (!series || series.length === 0) return [0, 1]
    const values: number[] = []
    const add = (value: number | null | undefined) => {
      if (value !== null && value !== undefined && Number.isFinite(value)) values.push(value)
    }
    const column = this.column(series)
    const [start, end] = this.visible(series)
    for (let i = start; i < end; i++) add(column[i])
    const scene = sceneOf(this.stream!, this.kind, start, end)!
    for (const { line } of scene.runs) [line.cl, line.lcl, line.ucl].forEach(add)
    add(scene.spec?.lower)
    add(scene.spec?.upper)
    add(scene.proposed?.lcl)
    add(scene.proposed?.ucl)
    if (values.length === 0) return [0, 1]
    const low = Math.min(...values)
    const high = Math.max(...values)
    const pad = (high - low) * 0.08 || Math.abs(high) * 0.01 || 1
    return [Math.max(floorOf(this.kind, this.stream!.characteristic.chart), low - pad), high + pad]
  }

  private scene(): Scene | null {
    const series = this.stream?.series
    return series ? sceneOf(this.stream!, this.kind, ...this.visible(series)) : null
  }

  private drawGround(plot: uPlot): void {
    const { ctx, bbox } = plot
    ctx.fillStyle = COLOR.plot
    ctx.fillRect(bbox.left, bbox.top, bbox.width, bbox.height)
    const scene = this.scene()
    if (scene) clipped(plot, () => drawZones(plot, scene))
  }

  private drawChart(plot: uPlot): void {
    const scene = this.scene()
    if (!scene) return
    drawLimits(plot, scene, this.picks.style())
    clipped(plot, () => this.drawPoints(plot, scene.series))
    this.drawMarks(plot, scene.series)
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

  /** uPlot remembers the context's state and does not set it twice. */
  private kept(plot: uPlot, draw: () => void): void {
    plot.ctx.save()
    draw()
    plot.ctx.restore()
  }
}
