// Where readings come from, what is missing, what could not become a reading; and whether announcements arrive.
import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { api, type Gap, type Quarantined, type Source } from '../api'
import { number, time } from '../format'
import { store } from '../screen'
import { Announcements } from './announce'
import { Age, Shape } from './parts'

const EVERY_MS = 4_000

const STATE: Record<Source['state'], string> = {
  up: 'Connected',
  connecting: 'Connecting',
  down: 'Lost',
  refused: 'Refused',
  stopped: 'Stopped',
}

export function Sources() {
  const sources = useSignal<Source[] | null>(null)
  const quarantine = useSignal<Quarantined[] | null>(null)
  const gaps = useSignal<Gap[] | null>(null)
  const failed = useSignal('')
  useEffect(() => {
    let left = false
    let timer: ReturnType<typeof setTimeout>
    const load = async () => {
      const told = await Promise.allSettled([api.sources(), api.quarantine(), api.gaps()])
      if (left) return
      const [a, b, c] = told
      if (a.status === 'fulfilled') sources.value = a.value.items
      if (b.status === 'fulfilled') quarantine.value = b.value.items
      if (c.status === 'fulfilled') gaps.value = c.value.items
      const bad = told.find((one) => one.status === 'rejected')
      failed.value = bad?.status === 'rejected' ? String((bad.reason as Error).message) : ''
      timer = setTimeout(() => void load(), EVERY_MS)
    }
    void load()
    return () => {
      left = true
      clearTimeout(timer)
    }
  }, [])
  return (
    <main class="wide">
      {failed.value && (
        <p role="alert" class="bad">
          {failed.value} What is shown may be old.
        </p>
      )}
      <section class="panel">
        <h1>Sources</h1>
        <SourceTable rows={sources.value} />
      </section>
      <div class="columns">
        <section class="panel">
          <h2>Quarantine</h2>
          <p class="quiet">What arrived and could not become a reading. Nothing is dropped.</p>
          <QuarantineTable rows={quarantine.value} />
        </section>
        <section class="panel">
          <h2>Gaps</h2>
          <p class="quiet">Readings known to be missing.</p>
          <GapTable rows={gaps.value} />
        </section>
      </div>
      <Announcements />
    </main>
  )
}

function stamp(iso: string): string {
  return time(Date.parse(iso), store.site.value, store.now())
}

function SourceTable({ rows }: { rows: Source[] | null }) {
  if (rows === null) return <p class="quiet">Loading…</p>
  if (rows.length === 0) return <p class="quiet">No sources yet. Add one in plant.toml, or post to /api/v1/readings.</p>
  const style = store.site.value
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Sources">
      <table>
        <thead>
          <tr>
            <th>Source</th>
            <th>State</th>
            <th>Last reading</th>
            <th class="num">Readings</th>
            <th class="num">Rejected</th>
            <th class="num">Clock</th>
            <th>Last error</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row.id}>
              <td>
                <strong>{row.id}</strong> <span class="quiet">{row.kind}</span>
              </td>
              <td>
                <span class={`source ${row.state}`}>
                  {row.state !== 'up' && <Shape priority={4} />} {STATE[row.state] ?? row.state}
                </span>
              </td>
              <td>{row.last_reading_at ? <Age since={Date.parse(row.last_reading_at)} /> : '–'}</td>
              <td class="num">{row.counters['readings'] ?? 0}</td>
              <td class="num">{row.counters['rejects'] ?? 0}</td>
              <td class="num">{row.skew_s === null ? '–' : `${number(row.skew_s, 1, style)} s`}</td>
              <td class="error">{row.state === 'up' ? '' : row.last_error}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

function QuarantineTable({ rows }: { rows: Quarantined[] | null }) {
  if (rows === null) return <p class="quiet">Loading…</p>
  if (rows.length === 0) return <p>Empty.</p>
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Quarantine">
      <table>
        <thead>
          <tr>
            <th>Arrived</th>
            <th>Source</th>
            <th>Reason</th>
            <th>Payload</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row.id}>
              <td>{stamp(row.received_at)}</td>
              <td>{row.source ?? '–'}</td>
              <td>{row.reason}</td>
              <td>
                <code>{(row.payload ?? '').slice(0, 120)}</code>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

function GapTable({ rows }: { rows: Gap[] | null }) {
  if (rows === null) return <p class="quiet">Loading…</p>
  if (rows.length === 0) return <p>None.</p>
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Gaps">
      <table>
        <thead>
          <tr>
            <th>From</th>
            <th>To</th>
            <th>Source</th>
            <th class="num">Missed</th>
            <th>Reason</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row.id}>
              <td>{stamp(row.start)}</td>
              <td>{stamp(row.end)}</td>
              <td>{row.characteristic ?? row.source ?? '–'}</td>
              <td class="num">{row.missed ?? '?'}</td>
              <td>{row.reason}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}
