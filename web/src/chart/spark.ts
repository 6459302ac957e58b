// The small chart of a tile: a plain canvas, cheap enough for a wall full of them.
import type { Stream } from '../live/store'
import { EXCLUDED } from '../live/protocol'
import { locationMark } from '../live/violations'
import { breaksBefore, floorOf, lineAt, runsOf, stepsOf } from './lines'
import { COLOR, drawArrow, drawMark } from './marks'

const POINTS = 100
const SIGMAS = 5

export function drawSpark(canvas: HTMLCanvasElement, stream: Stream): void {
  const ratio = devicePixelRatio || 1
  const width = Math.round(canvas.clientWidth * ratio)
  const height = Math.round(canvas.clientHeight * ratio)
  if (width === 0 || height === 0) return
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width
    canvas.height = height
  }
  const ctx = canvas.getContext('2d')!
  ctx.clearRect(0, 0, width, height)
  const series = stream.series
  if (!series || series.length === 0) return
  const start = Math.max(0, series.length - POINTS)
  const edge = 6 * ratio
  const step = (width - 2 * edge) / (POINTS - 1)
  const left = width - edge - (series.length - 1 - start) * step
  const [low, high] = range(stream, start)
  const yOf = (v: number) => edge + ((high - v) / (high - low)) * (height - 2 * edge)
  const xOf = (i: number) => left + (i - start) * step
  drawLimits(ctx, stream, start, xOf, yOf, step, ratio)

  ctx.beginPath()
  for (let i = start; i < series.length; i++) {
    if (series.g[i]! & EXCLUDED) continue
    const y = Math.min(height - edge, Math.max(edge, yOf(series.y[i]!)))
    if (i === start || breaksBefore(series, i)) ctx.moveTo(xOf(i), y)
    else ctx.lineTo(xOf(i), y)
  }
  ctx.strokeStyle = COLOR.line
  ctx.lineWidth = 1.4 * ratio
  ctx.lineJoin = 'round'
  ctx.stroke()

  for (let i = start; i < series.length; i++) {
    const mark = locationMark(series, i, stream.versions[series.v[i]!])
    const y = yOf(series.y[i]!)
    const off = y < edge - 1 || y > height - edge + 1
    if (mark.priority) {
      const at = Math.min(height - edge, Math.max(edge, y))
      drawMark(ctx, mark.priority, xOf(i), at, 9 * ratio)
      if (off) drawArrow(ctx, y < edge, xOf(i) - 9 * ratio, at, 7 * ratio)
    }
  }
}

function range(stream: Stream, start: number): [number, number] {
  const series = stream.series!
  const line = lineAt(series, series.length - 1, stream.versions, 'location')
  if (line) {
    const s = line.s ?? Math.max((line.ucl ?? line.cl) - line.cl, line.cl - (line.lcl ?? line.cl)) / 3
    if (s > 0) return [line.cl - SIGMAS * s, line.cl + SIGMAS * s]
  }
  let low = Infinity
  let high = -Infinity
  for (let i = start; i < series.length; i++) {
    low = Math.min(low, series.y[i]!)
    high = Math.max(high, series.y[i]!)
  }
  const pad = (high - low) * 0.15 || 1
  return [low - pad, high + pad]
}

function drawLimits(
  ctx: CanvasRenderingContext2D,
  stream: Stream,
  start: number,
  xOf: (i: number) => number,
  yOf: (v: number) => number,
  step: number,
  ratio: number,
): void {
  const series = stream.series!
  const runs = runsOf(series, start, series.length, stream.versions, 'location')
  const floor = floorOf('location', stream.characteristic.chart)
  for (const name of ['cl', 'lcl', 'ucl'] as const) {
    ctx.beginPath()
    for (const line of stepsOf(runs, name, floor)) {
      line.forEach(({ start: from, end, value }, i) => {
        if (i === 0) ctx.moveTo(xOf(from) - step / 2, yOf(value))
        else ctx.lineTo(xOf(from) - step / 2, yOf(value))
        ctx.lineTo(xOf(end) - step / 2, yOf(value))
      })
    }
    ctx.setLineDash(name === 'cl' ? [] : [4 * ratio, 3 * ratio])
    ctx.strokeStyle = name === 'cl' ? COLOR.faint : COLOR.muted
    ctx.lineWidth = ratio * (name === 'cl' ? 1 : 0.9)
    ctx.stroke()
  }
  ctx.setLineDash([])
}
