// The wall: all streams of a line as tiles; without a line, the whole plant.
import { useComputed, useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { isUnseen, lineOf, type Stream } from '../live/store'
import { store } from '../screen'
import { Shape, useStreams } from './parts'
import { Tile } from './tile'

const PER_PAGE = 56
const RATE = 4

export function lineTitle(line: string): string {
  return line.replace(/[-_]/g, ' ').replace(/^./, (letter) => letter.toUpperCase())
}

function useLines() {
  return useComputed(() => {
    const lines = new Map<string, Stream[]>()
    for (const stream of store.allStreams.value) {
      const line = lineOf(stream)
      lines.set(line, [...(lines.get(line) ?? []), stream])
    }
    return [...lines].sort(([a], [b]) => a.localeCompare(b, 'en', { numeric: true }))
  })
}

function Waiting() {
  store.tick.value
  const late = performance.now() > 5000
  return (
    <p class="empty" role="status">
      {late ? 'Still waiting for the server.' : 'Connecting…'}
    </p>
  )
}

export function Plant() {
  const lines = useLines()
  const names = lines.value.flatMap(([, streams]) => streams.map((stream) => stream.c))
  useStreams(names.slice(0, 400), 100, RATE)
  if (names.length === 0) return store.epoch === null ? <Waiting /> : <NoStreams line={null} />
  return (
    <main class="plant">
      {lines.value.map(([line, streams]) => (
        <Line key={line} line={line} streams={streams} />
      ))}
    </main>
  )
}

function NoStreams({ line }: { line: string | null }) {
  return (
    <p class="empty">
      No characteristics{line ? ` on ${lineTitle(line)}` : ''} yet. Add one in plant.toml, or send the first measurement.
    </p>
  )
}

function Line({ line, streams }: { line: string; streams: Stream[] }) {
  const mine = new Set(streams.map((stream) => stream.c))
  const unseen = useComputed(() => store.openAlarms.value.filter((one) => mine.has(one.stream) && isUnseen(one)))
  return (
    <section class="line" aria-label={lineTitle(line)}>
      <h2>
        <a href={`/wall/${encodeURIComponent(line)}`}>{lineTitle(line)}</a>
        <span class="quiet">
          {streams.length} {streams.length === 1 ? 'characteristic' : 'characteristics'}
        </span>
        {[1, 2, 3].map((priority) => {
          const count = unseen.value.filter((one) => one.priority === priority).length
          return count ? (
            <span class={`count p${priority}`} key={priority}>
              <Shape priority={priority} /> {count} new
            </span>
          ) : null
        })}
      </h2>
      <div class="tiles">
        {streams.slice(0, 120).map((stream) => (
          <Tile key={stream.c} stream={stream} />
        ))}
      </div>
    </section>
  )
}

export function Wall({ line }: { line: string }) {
  const all = useComputed(() => store.allStreams.value.filter((stream) => lineOf(stream) === line))
  const page = useSignal(Math.max(1, Number(new URLSearchParams(location.search).get('page') ?? 1)))
  const rotate = Number(new URLSearchParams(location.search).get('rotate') ?? 0)
  const pages = Math.max(1, Math.ceil(all.value.length / PER_PAGE))
  const shown = all.value.slice((Math.min(page.value, pages) - 1) * PER_PAGE, Math.min(page.value, pages) * PER_PAGE)
  useStreams(
    shown.map((stream) => stream.c),
    100,
    RATE,
  )
  useEffect(() => {
    if (!(rotate > 0) || pages < 2) return
    const timer = setInterval(() => (page.value = (page.value % pages) + 1), rotate * 1000)
    return () => clearInterval(timer)
  }, [rotate, pages])
  if (all.value.length === 0) return store.epoch === null ? <Waiting /> : <NoStreams line={line} />
  return (
    <main class="wall">
      <h1 class="hidden">{lineTitle(line)}</h1>
      <div class={`tiles fill n${columns(shown.length)}`}>
        {shown.map((stream) => (
          <Tile key={stream.c} stream={stream} />
        ))}
      </div>
      {pages > 1 && (
        <nav class="pages" aria-label="Pages">
          {Array.from({ length: pages }, (_, i) => (
            <button key={i} aria-current={page.value === i + 1 ? 'page' : undefined} onClick={() => (page.value = i + 1)}>
              {i + 1}
            </button>
          ))}
        </nav>
      )}
    </main>
  )
}

function columns(tiles: number): number {
  return Math.min(8, Math.max(3, Math.ceil(Math.sqrt(tiles * 1.3))))
}
