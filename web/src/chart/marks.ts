// Shapes and colours of SPC: the shape says what the colour says.
import type { Mark } from '../live/violations'

export const COLOR = {
  ink: '#15191c',
  muted: '#3c454c',
  line: '#2a3137',
  faint: '#aab1b6',
  plot: '#eceef0',
  zoneA: 'rgba(21,25,28,0.075)',
  zoneB: 'rgba(21,25,28,0.035)',
  spec: '#0b62a4',
  red: '#a8001c',
  amber: '#ffb000',
  amberEdge: '#7a5200',
  blue: '#0b62a4',
  violet: '#6b4fa0',
}

const FILL = ['', COLOR.red, COLOR.amber, COLOR.blue] as const
const EDGE = ['', '#ffffff', COLOR.amberEdge, '#ffffff'] as const

/** A marker centred at (x, y): square, diamond or disc of `size` pixels across. */
export function drawMark(
  ctx: CanvasRenderingContext2D,
  priority: Mark['priority'],
  x: number,
  y: number,
  size: number,
  hollow = false,
): void {
  if (priority === 0) return
  const r = size / 2
  ctx.beginPath()
  if (priority === 1) ctx.rect(x - r, y - r, size, size)
  else if (priority === 2) {
    ctx.moveTo(x, y - r * 1.3)
    ctx.lineTo(x + r * 1.3, y)
    ctx.lineTo(x, y + r * 1.3)
    ctx.lineTo(x - r * 1.3, y)
    ctx.closePath()
  } else ctx.arc(x, y, r, 0, 2 * Math.PI)
  ctx.lineWidth = Math.max(1, size / 9)
  ctx.fillStyle = hollow ? COLOR.plot : FILL[priority]
  ctx.fill()
  ctx.strokeStyle = hollow ? (priority === 2 ? COLOR.amberEdge : FILL[priority]) : EDGE[priority]
  ctx.stroke()
}

/** A small triangle that says in which direction a point lies. */
export function drawArrow(ctx: CanvasRenderingContext2D, up: boolean, x: number, y: number, size: number): void {
  const tip = up ? -size / 2 : size / 2
  ctx.beginPath()
  ctx.moveTo(x, y + tip)
  ctx.lineTo(x + size / 2, y - tip)
  ctx.lineTo(x - size / 2, y - tip)
  ctx.closePath()
  ctx.fillStyle = COLOR.ink
  ctx.fill()
}
