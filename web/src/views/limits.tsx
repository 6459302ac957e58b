// Limits of a characteristic: every version, a proposal, and the second person's yes or no.
import { useComputed, useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { api, newKey, Refused, type VersionRow } from '../api'
import { figure, isShare, scaleOf } from '../figures'
import { time } from '../format'
import { parseTyped } from '../number'
import { store } from '../screen'
import { NotFound, useOffline, who } from './parts'

export function Limits({ name }: { name: string }) {
  store.catalogRev.value
  const characteristic = useComputed(() => {
    store.catalogRev.value
    return store.characteristic(name)
  })
  const rows = useSignal<VersionRow[] | null>(null)
  const said = useSignal<{ text: string; bad: boolean } | null>(null)
  const offline = useOffline()
  const load = () =>
    api.versions(name).then(
      (page) => (rows.value = [...page.items].sort((a, b) => b.number - a.number)),
      (error: unknown) => (said.value = { text: (error as Error).message, bad: true }),
    )
  useEffect(() => void load(), [name])
  const decide = async (path: string, body: object, done: string) => {
    const person = await who()
    if (!person) return
    try {
      await api.limits(name, path, { who: person, ...body }, newKey())
      said.value = { text: done, bad: false }
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      said.value = { text: `Not saved. ${error.message}`, bad: true }
    }
    await load()
  }
  if (!characteristic.value) {
    if (store.epoch === null) return <p class="empty">Connecting…</p>
    return <NotFound what={`No characteristic is called "${name}".`} />
  }
  const facts = characteristic.value
  const style = store.site.value
  const share = isShare(facts)
  const show = (row: VersionRow, name: 'lcl' | 'center' | 'ucl') => {
    const value = row.location?.[name] ?? null
    if (share && row.location && name !== 'center') return 'by n'
    if (value === null) return '–'
    return figure(facts, 'limit', value, style, scaleOf(row.location!)) + (share ? ' %' : '')
  }
  const proposals = (rows.value ?? []).filter((row) => row.state === 'proposed')
  return (
    <main class="wide">
      <div class="heading">
        <h1>Limits of {facts.name || facts.id}</h1>
        <a class="button" href={`/c/${encodeURIComponent(facts.streams[0]?.c ?? facts.id)}`}>
          Chart
        </a>
      </div>
      {said.value && (
        <p role="alert" class={said.value.bad ? 'bad' : 'good'}>
          {said.value.text}
        </p>
      )}
      {proposals.map((row) => (
        <section class="panel" key={row.number}>
          <h2>Proposed: v{row.number}</h2>
          <p>
            {['lcl', 'center', 'ucl'].map((name) => `${LINE[name]} ${show(row, name as 'lcl' | 'center' | 'ucl')}`).join(' · ')}
            {row.stream && row.stream !== facts.id ? ` · ${row.stream}` : ''}
          </p>
          <p class="quiet">{[row.author, row.reason].filter(Boolean).join(': ')}</p>
          <div class="actions">
            <button
              class="primary big"
              disabled={offline.value}
              onClick={() => void decide(`/${row.number}/approve`, {}, `v${row.number} is in force.`)}
            >
              Approve
            </button>
            <button
              class="big"
              disabled={offline.value}
              onClick={() => void decide(`/${row.number}/reject`, { reason: 'rejected on the screen' }, `v${row.number} is rejected.`)}
            >
              Reject
            </button>
            {offline.value && <span class="quiet">Not now: the server is away.</span>}
          </div>
        </section>
      ))}
      <section class="panel">
        <h2>Versions</h2>
        <div class="scroll" tabIndex={0} role="region" aria-label="Versions">
          <table>
            <thead>
              <tr>
                <th>Version</th>
                <th>State</th>
                <th class="num">LCL</th>
                <th class="num">CL</th>
                <th class="num">UCL</th>
                <th>How</th>
                <th>By</th>
                <th>Valid from</th>
              </tr>
            </thead>
            <tbody>
              {(rows.value ?? []).map((row) => (
                <tr key={row.number}>
                  <td>
                    v{row.number} {row.stream && row.stream !== facts.id ? <span class="quiet">{row.stream}</span> : ''}
                  </td>
                  <td>{row.state === 'proposed' ? <strong>PROPOSED</strong> : row.state}</td>
                  <td class="num">{show(row, 'lcl')}</td>
                  <td class="num">{show(row, 'center')}</td>
                  <td class="num">{show(row, 'ucl')}</td>
                  <td>{[howOf(row), row.reason].filter(Boolean).join(' · ')}</td>
                  <td>{byWhom(row)}</td>
                  <td>{validFrom(row)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </section>
      <Propose
        streams={facts.streams.map((one) => one.c)}
        attribute={share}
        send={(body) => decide('', body, 'Proposed. Somebody has to approve it before it judges anything.')}
      />
    </main>
  )
}

const LINE: Record<string, string> = { lcl: 'LCL', center: 'CL', ucl: 'UCL' }

function howOf({ limits }: VersionRow): string {
  if (!limits) return ''
  if (limits.method === 'given') return ['GIVEN', limits.source].filter(Boolean).join(' ')
  return limits.method === 'entered' ? 'entered' : 'from a baseline'
}

function byWhom({ author, approved_by: approver }: VersionRow): string {
  return approver && approver !== author ? `${author}, approved by ${approver}` : author
}

function validFrom(row: VersionRow): string {
  if (row.valid_from) return time(Date.parse(row.valid_from), store.site.value, store.now())
  return row.state === 'proposed' || row.state === 'rejected' ? '–' : 'since ever'
}

function Propose({
  streams,
  attribute,
  send,
}: {
  streams: string[]
  attribute: boolean
  send: (body: object) => Promise<void>
}) {
  const way = useSignal<'baseline' | 'entered'>('baseline')
  const stream = useSignal(streams[0] ?? '')
  const last = useSignal('100')
  const center = useSignal('')
  const sigma = useSignal('')
  const reason = useSignal('')
  const mistake = useSignal('')
  const offline = useOffline()
  const submit = async () => {
    mistake.value = ''
    const scope = streams.length > 1 && stream.value ? { stream: stream.value } : {}
    const read = (text: string, label: string): number | null => {
      const typed = parseTyped(text)
      if ('value' in typed) return typed.value
      mistake.value = `${label}: ${typed.mistake}`
      return null
    }
    if (way.value === 'baseline') {
      const points = read(last.value, 'Points')
      if (points !== null) await send({ reason: reason.value, baseline: { last: Math.round(points) }, ...scope })
      return
    }
    const middle = read(center.value, 'Center')
    const width = attribute ? undefined : read(sigma.value, 'Sigma')
    if (middle === null || width === null) return
    const middleOf = attribute ? middle / 100 : middle
    await send({ reason: reason.value, center: middleOf, ...(width === undefined ? {} : { sigma: width }), ...scope })
  }
  return (
    <form
      class="panel"
      onSubmit={(event) => {
        event.preventDefault()
        void submit()
      }}
    >
      <h2>Propose limits</h2>
      <div class="group" role="group" aria-label="How">
        <button type="button" aria-pressed={way.value === 'baseline'} onClick={() => (way.value = 'baseline')}>
          From a baseline
        </button>
        <button type="button" aria-pressed={way.value === 'entered'} onClick={() => (way.value = 'entered')}>
          Center {attribute ? '' : 'and sigma'}
        </button>
      </div>
      <div class="values">
        {streams.length > 1 && (
          <div>
            <label for="stream">Stream</label>
            <select id="stream" value={stream.value} onChange={(event) => (stream.value = event.currentTarget.value)}>
              {streams.map((one) => (
                <option key={one}>{one}</option>
              ))}
            </select>
          </div>
        )}
        {way.value === 'baseline' ? (
          <Field id="last" label="Newest points" value={last} />
        ) : (
          <>
            <Field id="center" label={attribute ? 'Center, in percent' : 'Center'} value={center} />
            {!attribute && <Field id="sigma" label="Sigma of one value" value={sigma} />}
          </>
        )}
        <Field id="reason" label="Reason" value={reason} />
      </div>
      {mistake.value && (
        <p role="alert" class="bad">
          {mistake.value}
        </p>
      )}
      <div class="actions">
        <button class="primary big" disabled={offline.value || !reason.value.trim()}>
          Propose
        </button>
        {offline.value ? (
          <span class="quiet">Not now: the server is away.</span>
        ) : (
          !reason.value.trim() && <span class="quiet">Say why, first.</span>
        )}
      </div>
    </form>
  )
}

function Field({ id, label, value }: { id: string; label: string; value: { value: string } }) {
  return (
    <div>
      <label for={id}>{label}</label>
      <input
        id={id}
        autocomplete="off"
        maxLength={2000}
        value={value.value}
        onInput={(event) => (value.value = event.currentTarget.value)}
      />
    </div>
  )
}
