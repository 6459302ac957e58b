// One characteristic: both charts, limits stepped by version, follow or paused.
import { useComputed, useSignal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import type { Kind } from '../chart/lines'
import { ChartView, type Range } from '../chart/view'
import { day, time } from '../format'
import type { Stream } from '../live/store'
import { store } from '../screen'
import { NotFound, useStreams } from './parts'
import { describe, Readout, Table } from './points'
import { Side } from './side'

const WINDOW = 500
const SHOWN = 100
const LEAST = 10

const CHART_NAMES: Record<string, [location: string, dispersion: string | null]> = {
  i_mr: ['Single values', 'Moving range'],
  xbar_r: ['Mean', 'Range'],
  xbar_s: ['Mean', 'Standard deviation'],
  p: ['Proportion', null],
}

export function Detail({ name }: { name: string }) {
  store.catalogRev.value
  const stream = useComputed(() => {
    store.catalogRev.value
    return store.streams.get(name) ?? store.allStreams.value.find((one) => one.characteristic.id === name)
  })
  if (!stream.value) {
    if (store.epoch === null) return <p class="empty">Connecting…</p>
    return <NotFound what={`No characteristic is called "${name}".`} />
  }
  return <Charts stream={stream.value} key={stream.value.c} />
}

interface View {
  paused: boolean
  to: number
  shown: number
}

function Charts({ stream }: { stream: Stream }) {
  useStreams([stream.c], WINDOW, 10)
  const [locationName, dispersionName] = CHART_NAMES[stream.characteristic.chart] ?? ['Points', null]
  const view = useSignal<View>({ paused: false, to: 0, shown: SHOWN })
  const selected = useSignal<number | null>(null)
  const hovered = useSignal<number | null>(null)
  const table = useSignal(false)
  const panes = useSignal<'both' | 'x' | 'd'>('both')
  const views = useRef<ChartView[]>([])

  const end = useComputed(() => {
    stream.rev.value
    const series = stream.series
    return series ? series.first + series.length - 1 : 0
  })
  const range = useComputed<Range>(() => {
    const { paused, to, shown } = view.value
    const last = paused ? Math.max(to, stream.series?.first ?? 0) : end.value
    return { from: last - shown + 1, to: last }
  })
  const zoom = (factor: number) => {
    const shown = Math.min(WINDOW, Math.max(LEAST, Math.round(view.value.shown * factor)))
    view.value = { paused: true, to: range.value.to, shown }
  }
  const pan = (share: number) => {
    const { shown } = view.value
    const oldest = (stream.series?.first ?? 0) + Math.min(shown, stream.series?.length ?? 0) - 1
    const to = Math.max(oldest, Math.min(end.value, range.value.to + Math.round(share * shown)))
    view.value = { paused: true, to, shown }
  }
  const follow = () => (view.value = { paused: false, to: 0, shown: SHOWN })
  const step = (by: number) => {
    const from = selected.value ?? (by < 0 ? end.value + 1 : end.value)
    const place = Math.max(stream.series?.first ?? 0, Math.min(end.value, from + by))
    selected.value = place
    if (place < range.value.from || place > range.value.to) view.value = { ...view.value, paused: true, to: place }
  }
  const onKey = (event: KeyboardEvent) => {
    if (event.key === 'ArrowLeft') event.shiftKey ? pan(-0.25) : step(-1)
    else if (event.key === 'ArrowRight') event.shiftKey ? pan(0.25) : step(1)
    else if (event.key === 'Escape') selected.value = null
    else return
    event.preventDefault()
  }
  const save = async () => {
    const first = views.current[0]
    if (!first) return
    const now = store.now()
    const site = store.site.value
    const stale = store.connection.value === 'live' ? '' : ' · STALE'
    const lines = [
      `${stream.label} · ${stream.characteristic.station ?? ''}`,
      `${site.name} · ${day(now, site)} ${time(now, site, now)} · limits v${stream.limitsVersion ?? '–'}${stale}`,
    ]
    const link = document.createElement('a')
    link.href = URL.createObjectURL(await first.toPNG(lines))
    link.download = `${stream.c.replace(/[^\w.-]/g, '_')}.png`
    link.click()
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000)
  }

  return (
    <main class="detail">
      <section class={`charts${store.connection.value === 'stale' ? ' old' : ''}`} aria-label="Control charts" onKeyDown={onKey}>
        <div class="heading">
          <div>
            <h1>{stream.label}</h1>
            <p class="quiet">
              {[stream.characteristic.station?.replace('/', ' / '), stream.characteristic.part].filter(Boolean).join(' · ')}
            </p>
          </div>
          <Siblings stream={stream} />
        </div>
        {table.value ? (
          <Table stream={stream} />
        ) : (
          <div class={`panes ${panes.value}`}>
            {panes.value !== 'd' && (
              <Pane
                key={`x${panes.value}`}
                {...{ stream, range, selected, hovered, views }}
                kind="location"
                title={locationName}
                timeAxis={panes.value === 'x' || !dispersionName}
              />
            )}
            {panes.value !== 'x' && dispersionName && (
              <Pane
                key={`d${panes.value}`}
                {...{ stream, range, selected, hovered, views }}
                kind="dispersion"
                title={dispersionName}
                timeAxis
              />
            )}
          </div>
        )}
        <Readout stream={stream} place={hovered.value ?? selected.value} />
        <div class="toolbar" role="toolbar" aria-label="Chart">
          <div class="group">
            <button
              aria-pressed={view.value.paused}
              onClick={() => (view.value.paused ? follow() : (view.value = { ...view.value, paused: true, to: end.value }))}
            >
              {view.value.paused ? (
                'PAUSED · follow'
              ) : (
                <>
                  <PauseSign /> Following
                </>
              )}
            </button>
            <button aria-label="Earlier" onClick={() => pan(-0.5)}>
              ←
            </button>
            <button aria-label="Later" onClick={() => pan(0.5)}>
              →
            </button>
            <button aria-label="Show fewer points" onClick={() => zoom(0.5)}>
              +
            </button>
            <button aria-label="Show more points" onClick={() => zoom(2)}>
              −
            </button>
            <button aria-label="Follow the newest point" onClick={follow}>
              0
            </button>
          </div>
          <Shown stream={stream} view={view} />
          <div class="group right">
            {dispersionName && (
              <button
                onClick={() => (panes.value = panes.value === 'both' ? 'x' : panes.value === 'x' ? 'd' : 'both')}
                aria-label="Switch charts"
              >
                {panes.value === 'both' ? 'Both charts' : panes.value === 'x' ? locationName : dispersionName}
              </button>
            )}
            <button aria-pressed={table.value} onClick={() => (table.value = !table.value)}>
              Table
            </button>
            <button onClick={() => void save()} disabled={table.value}>
              PNG
            </button>
          </div>
        </div>
      </section>
      <Side stream={stream} />
    </main>
  )
}

function Shown({ stream, view }: { stream: Stream; view: { value: View } }) {
  stream.rev.value
  return <span class="quiet span">{Math.min(view.value.shown, stream.series?.length ?? 0)} points</span>
}

function PauseSign() {
  return (
    <svg viewBox="0 0 16 16" width="0.9em" height="0.9em" aria-hidden="true">
      <path d="M3 2h3.5v12H3zM9.5 2H13v12H9.5z" fill="currentColor" />
    </svg>
  )
}

interface PaneProps {
  stream: Stream
  kind: Kind
  title: string
  timeAxis: boolean
  range: { value: Range }
  selected: { value: number | null }
  hovered: { value: number | null }
  views: { current: ChartView[] }
}

function Pane({ stream, kind, title, timeAxis, range, selected, hovered, views }: PaneProps) {
  const host = useRef<HTMLDivElement>(null)
  const chart = useRef<ChartView | null>(null)
  useEffect(() => {
    const view = new ChartView(
      host.current!,
      kind,
      {
        style: () => store.site.peek(),
        now: () => store.now(),
        hover: (place) => (hovered.value = place),
        pick: (place) => (selected.value = selected.value === place ? null : place),
      },
      timeAxis,
    )
    chart.current = view
    if (kind === 'location') views.current.unshift(view)
    else views.current.push(view)
    view.setSeries(stream)
    const stop = stream.rev.subscribe(() => view.append())
    return () => {
      stop()
      views.current = views.current.filter((one) => one !== view)
      view.destroy()
    }
  }, [stream, kind, timeAxis])
  const { from, to } = range.value
  const picked = selected.value
  useEffect(() => chart.current?.setRange({ from, to }, picked), [from, to, picked])
  const summary = useComputed(() => describe(stream, kind))
  return (
    <figure class={`pane ${kind}`} tabIndex={0} role="img" aria-label={`${title} chart. ${summary.value}`}>
      <figcaption>{title}</figcaption>
      <div class="plot" ref={host} />
      <Hint stream={stream} kind={kind} />
    </figure>
  )
}

/** What the chart cannot say: why it has no limits, or no past. */
function Hint({ stream, kind }: { stream: Stream; kind: Kind }) {
  stream.rev.value
  if (kind !== 'location') return null
  const series = stream.series
  if (!series) return <p class="hint">Loading…</p>
  if (series.partial) return <p class="hint">The database is away: only what came since is shown.</p>
  if (series.length === 0) return <p class="hint">No points yet.</p>
  const last = stream.versions[series.v[series.length - 1]!]
  if (last && !last.x) return <p class="hint">Limits not set: {series.length} of 25 points collected.</p>
  if (last?.state === 'trial') return <p class="hint">Trial limits: advisory until approved.</p>
  return null
}

function Siblings({ stream }: { stream: Stream }) {
  const all = stream.characteristic.streams
  if (all.length < 2) return null
  return (
    <nav class="siblings" aria-label="Streams">
      {all.map((one) => (
        <a
          key={one.c}
          href={`/c/${encodeURIComponent(one.c)}`}
          aria-current={one.c === stream.c ? 'page' : undefined}
        >
          {Object.values(one.tags).join(' ')}
        </a>
      ))}
    </nav>
  )
}
