// One stream on the wall: name, last value, small chart, badge; hatched when it is old.
import { useComputed } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import { drawSpark } from '../chart/spark'
import { offFrame, onFrame } from '../chart/frame'
import { figure, unitOf } from '../figures'
import { age, type Style } from '../format'
import { isUnseen, type Stream } from '../live/store'
import { locationMark, type Mark } from '../live/violations'
import { store } from '../screen'
import { AlarmBadge, Shape, SnoozedBadge, stateWords, useSilence, WORD } from './parts'

/** The newest value as it is shown; "…" while it is not known, "–" where there is none yet. */
export function lastValue(stream: Stream, style: Style): string {
  const series = stream.series
  if (!series) return '…'
  if (series.length === 0) return '–'
  return figure(stream.characteristic, 'value', series.y[series.length - 1]!, style)
}

export function lastMark(stream: Stream): Mark {
  const series = stream.series
  if (!series || series.length === 0) return { priority: 0, side: '' }
  const i = series.length - 1
  return locationMark(series, i, stream.versions[series.v[i]!])
}

/** Which side the newest marked point of the last few lies on. */
export function sideArrow(stream: Stream): string {
  const series = stream.series
  if (!series) return ''
  for (let i = series.length - 1; i >= Math.max(0, series.length - 30); i--) {
    const { priority, side } = locationMark(series, i, stream.versions[series.v[i]!])
    if (priority) return side === 'upper' ? '▲' : side === 'lower' ? '▼' : ''
  }
  return ''
}

/** The name and its tags, in letters; a tag has a frame around it. */
function widthOf(stream: Stream): number {
  const tags = Object.values(stream.tags).reduce((sum, tag) => sum + tag.length + 3, 0)
  return stream.characteristic.name.length + tags
}

export function Tile({ stream }: { stream: Stream }) {
  const canvas = useRef<HTMLCanvasElement>(null)
  const silence = useSilence(stream)
  const alarm = useComputed(() => store.worstOf.value.get(stream.c))
  const value = useComputed(() => {
    stream.rev.value
    return lastValue(stream, store.site.value)
  })
  const mark = useComputed(() => {
    stream.rev.value
    return lastMark(stream)
  })
  const old = useComputed(() => store.connection.value === 'stale')

  useEffect(() => {
    const draw = () => canvas.current && drawSpark(canvas.current, stream)
    const stop = stream.rev.subscribe(() => onFrame(draw))
    const observer = new ResizeObserver(() => onFrame(draw))
    observer.observe(canvas.current!)
    return () => {
      stop()
      offFrame(draw)
      observer.disconnect()
    }
  }, [stream])

  const shown = alarm.value
  const snoozed = useComputed(() => store.snoozedOf.value.get(stream.c))
  const quiet = silence.value > 0
  const unseen = shown && isUnseen(shown)
  const priority = shown ? shown.priority : snoozed.value ? 0 : mark.value.priority
  const classes = ['tile']
  if (priority && (priority !== 4 || unseen)) classes.push(`p${priority}`)
  if (unseen) classes.push('unseen')
  if (quiet) classes.push('nodata')
  if (old.value) classes.push('old')
  const unit = unitOf(stream.characteristic)
  const label =
    `${stream.label}: ${value.value} ${unit}` +
    (shown ? `, ${shown.sentence}` : snoozed.value ? `, ${stateWords(snoozed.value, store.now())}` : '') +
    (quiet ? `, no data for ${age(silence.value)}` : old.value ? ', old value' : '')
  return (
    <a class={classes.join(' ')} href={`/c/${encodeURIComponent(stream.c)}`} aria-label={label} data-stream={stream.c}>
      <span class="name" style={{ '--chars': widthOf(stream) }}>
        <span class="long">{stream.characteristic.name}</span>
        {Object.entries(stream.tags).map(([tag, value]) => (
          <span class="tag" key={tag} title={`${tag} ${value}`}>
            {value}
          </span>
        ))}
      </span>
      <span class="value" style={{ '--chars': value.value.length, '--unit': `${0.7 * unit.length + 0.4}rem` }}>
        <span class="digits">{value}</span>
        <span class="unit">{unit}</span>
      </span>
      <span class="spark">
        <canvas ref={canvas} aria-hidden="true" />
      </span>
      <span class="foot">
        {old.value ? <OldBadge stream={stream} /> : quiet ? <SilentBadge silence={silence.value} /> : null}
        {shown && !(quiet && shown.class === 'silent') ? (
          <AlarmBadge alarm={shown} arrow={shown.priority < 4 ? sideArrow(stream) : ''} />
        ) : snoozed.value ? (
          <SnoozedBadge alarm={snoozed.value} />
        ) : mark.value.priority ? (
          <span class={`badge p${mark.value.priority}`}>
            <Shape priority={mark.value.priority} />
            {WORD[mark.value.priority]}
          </span>
        ) : null}
      </span>
    </a>
  )
}

function SilentBadge({ silence }: { silence: number }) {
  return (
    <span class="badge p4">
      <Shape priority={4} />
      NO DATA {age(silence)}
    </span>
  )
}

/** While the server is away nobody knows whether the gauge still measures. */
function OldBadge({ stream }: { stream: Stream }) {
  store.tick.value
  return (
    <span class="badge p4">
      <Shape priority={4} />
      OLD {stream.arrivedAt > 0 ? age(store.now() - stream.arrivedAt) : ''}
    </span>
  )
}
