// The wall: all streams of a line as tiles; without a line, the whole plant.
import { useComputed, useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { lineOf, type Stream, waitsToBeSeen } from '../live/store'
import { store } from '../screen'
import { columnsFor, mostColumns, sharedColumns } from './grid'
import { Shape, useStreams } from './parts'
import { Tile } from './tile'

const PER_PAGE = 56
const MOST_TILES = 400 // of the whole plant; a line of its own has pages
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

/** The room for tiles, as the window changes. */
function useRoom() {
  const width = useSignal(innerWidth)
  const height = useSignal(innerHeight)
  useEffect(() => {
    const measure = () => {
      width.value = innerWidth
      height.value = innerHeight
    }
    addEventListener('resize', measure)
    return () => removeEventListener('resize', measure)
  }, [])
  return { width, height }
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
  const { width } = useRoom()
  const most = Math.floor(MOST_TILES / Math.max(1, lines.value.length))
  const names = lines.value.flatMap(([, streams]) => streams.slice(0, most).map((stream) => stream.c))
  useStreams(names, 100, RATE)
  if (names.length === 0) return store.epoch === null ? <Waiting /> : <NoStreams line={null} />
  const columns = sharedColumns(lines.value.map(([, streams]) => Math.min(streams.length, most)), mostColumns(width.value))
  return (
    <main class="plant" style={{ '--columns': columns }}>
      {lines.value.map(([line, streams]) => (
        <Line key={line} line={line} streams={streams} most={most} />
      ))}
    </main>
  )
}

function NoStreams({ line }: { line: string | null }) {
  return (
    <p class="empty">
      No characteristics{line ? ` on ${lineTitle(line)}` : ''} yet. Describe them in plant.toml, then run andon apply plant.toml.
    </p>
  )
}

function count(number: number, one: string): string {
  return `${number} ${one}${number === 1 ? '' : 's'}`
}

/** A characteristic with several streams (cavities, heads) has a tile for each, and is one. */
export function census(streams: Stream[]): string {
  const characteristics = new Set(streams.map((stream) => stream.characteristic.id)).size
  const counted = count(characteristics, 'characteristic')
  return characteristics === streams.length ? counted : `${counted}, ${count(streams.length, 'chart')}`
}

function Line({ line, streams, most }: { line: string; streams: Stream[]; most: number }) {
  const mine = new Set(streams.map((stream) => stream.c))
  const unseen = useComputed(() => store.openAlarms.value.filter((one) => mine.has(one.stream) && waitsToBeSeen(one)))
  return (
    <section class="line" aria-label={lineTitle(line)}>
      <h2>
        <a href={`/wall/${encodeURIComponent(line)}`}>{lineTitle(line)}</a>
        <span class="quiet">{census(streams)}</span>
        {[1, 2, 3, 4].map((priority) => {
          const count = unseen.value.filter((one) => one.priority === priority).length
          return count ? (
            <span class={`count p${priority}`} key={priority}>
              <Shape priority={priority} /> {count} new
            </span>
          ) : null
        })}
      </h2>
      <div class="tiles">
        {streams.slice(0, most).map((stream) => (
          <Tile key={stream.c} stream={stream} />
        ))}
      </div>
      {streams.length > most && (
        <a class="button" href={`/wall/${encodeURIComponent(line)}`}>
          {streams.length - most} more of {lineTitle(line)}
        </a>
      )}
    </section>
  )
}

export function Wall({ line }: { line: string }) {
  const { width, height } = useRoom()
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
      <div class="tiles fill" style={{ '--columns': columnsFor(shown.length, width.value, height.value) }}>
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
