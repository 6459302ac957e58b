// Hand measurements: one form that takes a comma or a point and doubts what is implausible.
import { useComputed, useSignal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import { api, newKey, Refused, type Posted, type Verdict } from '../api'
import { figure } from '../figures'
import { time } from '../format'
import { lineOf, type Stream } from '../live/store'
import { implausible, parseTyped } from '../number'
import { path } from '../router'
import { store } from '../screen'
import { Shape, useOffline, who } from './parts'
import { lineTitle } from './wall'

interface Sent {
  at: number
  stream: string
  text: string
  verdict: Verdict['verdict'] | 'rejected'
  words: string
}

interface Attempt {
  key: string
  time: string
  fingerprint: string
}

export function Entry({ name }: { name: string }) {
  const chosen = useSignal(name)
  const filter = useSignal('')
  const sent = useSignal<Sent[]>([])
  const groups = useComputed(() => {
    const wanted = filter.value.trim().toLowerCase()
    const lines = new Map<string, Stream[]>()
    for (const stream of store.allStreams.value) {
      const words = `${stream.label} ${stream.c} ${stream.characteristic.station} ${stream.characteristic.part}`
      if (wanted && !words.toLowerCase().includes(wanted)) continue
      lines.set(lineOf(stream), [...(lines.get(lineOf(stream)) ?? []), stream])
    }
    return [...lines].sort(([a], [b]) => a.localeCompare(b, 'en', { numeric: true }))
  })
  const stream = useComputed(() => {
    store.catalogRev.value
    return store.streams.get(chosen.value)
  })
  useEffect(() => {
    if (chosen.value) history.replaceState(null, '', `/entry/${encodeURIComponent(chosen.value)}`)
    path.value = location.pathname
  }, [chosen.value])
  return (
    <main class="narrow entry">
      <h1>Enter a measurement</h1>
      <div class="panel">
        <div class="two">
          <div>
            <label for="find">Find</label>
            <input
              id="find"
              type="search"
              autocomplete="off"
              placeholder="name, station or part"
              value={filter.value}
              onInput={(event) => (filter.value = event.currentTarget.value)}
            />
          </div>
          <div>
            <label for="characteristic">Characteristic</label>
            <select
              id="characteristic"
              value={chosen.value}
              onChange={(event) => (chosen.value = event.currentTarget.value)}
            >
              <option value="">choose…</option>
              {groups.value.map(([line, streams]) => (
                <optgroup key={line} label={lineTitle(line)}>
                  {streams.map((one) => (
                    <option key={one.c} value={one.c}>
                      {one.label}
                    </option>
                  ))}
                </optgroup>
              ))}
            </select>
          </div>
        </div>
        {stream.value ? (
          <Form stream={stream.value} key={stream.value.c} onSent={(one) => (sent.value = [one, ...sent.value].slice(0, 8))} />
        ) : (
          chosen.value && store.epoch !== null && <p role="alert">No characteristic is called "{chosen.value}".</p>
        )}
      </div>
      {sent.value.length > 0 && (
        <div class="panel">
          <h2>Sent from here</h2>
          <ul class="timeline">
            {sent.value.map((one, i) => (
              <li key={sent.value.length - i}>
                <span class="quiet">{time(one.at, store.site.value, store.now())}</span>
                <span>
                  <strong>{one.text}</strong> {one.stream} · {one.verdict === 'alarm' && <Shape priority={2} />} {one.words}
                </span>
              </li>
            ))}
          </ul>
        </div>
      )}
    </main>
  )
}

function Form({ stream, onSent }: { stream: Stream; onSent: (sent: Sent) => void }) {
  const { characteristic } = stream
  const attribute = characteristic.chart === 'p'
  const fields = attribute ? 2 : Math.min(characteristic.n, 25)
  const texts = useSignal<string[]>(Array.from({ length: fields }, () => ''))
  const mistake = useSignal('')
  const doubt = useSignal('')
  const answer = useSignal<Sent | null>(null)
  const busy = useSignal(false)
  const offline = useOffline()
  const attempt = useRef<Attempt | null>(null)
  const first = useRef<HTMLInputElement>(null)

  const values = (): number[] | null => {
    const found: number[] = []
    for (const [i, text] of texts.value.entries()) {
      if (!attribute && i > 0 && text.trim() === '') continue
      const typed = parseTyped(text)
      if ('mistake' in typed) {
        mistake.value = fields > 1 ? `${labelOf(i)}: ${typed.mistake}` : typed.mistake
        return null
      }
      found.push(typed.value)
    }
    return found
  }
  const shown = (bound: number | null) =>
    bound === null ? '…' : figure(characteristic, 'bound', bound, store.site.value)
  const labelOf = (i: number) =>
    attribute ? (i === 0 ? 'Defective parts' : 'Parts inspected') : fields > 1 ? `Value ${i + 1}` : 'Value'

  const submit = async (sure: boolean) => {
    mistake.value = doubt.value = ''
    answer.value = null
    const found = values()
    if (!found) return
    if (attribute && (found[0]! > found[1]! || found.some((one) => !Number.isInteger(one) || one < 0))) {
      mistake.value = 'Counts are whole numbers, and no more can be defective than were inspected.'
      return
    }
    const odd = attribute ? -1 : found.findIndex((one) => implausible(one, characteristic.plausible))
    if (odd >= 0 && !sure) {
      const [side, bound] = implausible(found[odd]!, characteristic.plausible)!
      const typed = texts.value.filter((text) => text.trim() !== '')[odd]!.trim()
      doubt.value = `${typed} ${characteristic.unit} is ${side} ${shown(bound)}, which is not plausible here. Is the decimal mark right?`
      return
    }
    const name = await who()
    if (name) await send(found, name)
  }

  const send = async (found: number[], name: string) => {
    const fingerprint = JSON.stringify([found, name])
    if (attempt.current?.fingerprint !== fingerprint) {
      attempt.current = { key: newKey(), time: new Date(store.now()).toISOString(), fingerprint }
    }
    const { key, time: measured } = attempt.current
    const tags = { ...stream.tags, operator: name }
    const content = attribute ? { value: found[0], size: found[1] } : found.length > 1 ? { values: found } : { value: found[0] }
    busy.value = true
    try {
      const posted = await api.post([{ characteristic: characteristic.id, time: measured, tags, ...content }], key)
      const typed = texts.value.map((text) => text.trim()).filter(Boolean)
      const done = verdictOf(posted, stream, typed.join(attribute ? ' of ' : '  '))
      answer.value = done
      onSent(done)
      attempt.current = null
      if (done.verdict !== 'rejected') texts.value = texts.value.map(() => '')
      first.current?.focus()
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      mistake.value = `Not saved. Nothing was changed. ${error.message} Press Save again.`
    } finally {
      busy.value = false
    }
  }

  return (
    <form
      onSubmit={(event) => {
        event.preventDefault()
        void submit(false)
      }}
    >
      <p class="quiet">
        {[characteristic.station?.replace('/', ' / '), characteristic.part].filter(Boolean).join(' · ')}
        {characteristic.plausible[0] !== null || characteristic.plausible[1] !== null
          ? ` · plausible ${characteristic.plausible.map(shown).join(' to ')} ${characteristic.unit}`
          : ''}
      </p>
      <div class="values">
        {texts.value.map((text, i) => (
          <div key={i}>
            <label for={`value${i}`}>
              {labelOf(i)} {!attribute && characteristic.unit && `(${characteristic.unit})`}
            </label>
            <input
              id={`value${i}`}
              ref={i === 0 ? first : null}
              class="number"
              inputMode="decimal"
              autocomplete="off"
              value={text}
              onInput={(event) => {
                doubt.value = ''
                texts.value = texts.value.map((old, k) => (k === i ? event.currentTarget.value : old))
              }}
            />
          </div>
        ))}
      </div>
      {mistake.value && (
        <p role="alert" class="bad">
          {mistake.value}
        </p>
      )}
      {doubt.value && (
        <div role="alert" class="doubt">
          <p>{doubt.value}</p>
          <div class="actions">
            <button type="button" class="primary" onClick={() => (first.current?.focus(), first.current?.select(), (doubt.value = ''))}>
              Correct it
            </button>
            <button type="button" disabled={busy.value || offline.value} onClick={() => void submit(true)}>
              It is right: send it to quarantine
            </button>
          </div>
        </div>
      )}
      {answer.value && (
        <p role="status" class={`answer ${answer.value.verdict}`}>
          {answer.value.verdict === 'alarm' && <Shape priority={2} />} <strong>{answer.value.text}</strong> {answer.value.words}
        </p>
      )}
      <div class="actions">
        <button class="primary big" disabled={busy.value || offline.value}>
          Save
        </button>
        {offline.value && <span class="quiet">Not now: the server is away.</span>}
      </div>
    </form>
  )
}

function verdictOf(posted: Posted, stream: Stream, text: string): Sent {
  const base = { at: store.now(), stream: stream.label, text: `${text} ${stream.characteristic.unit}` }
  const rejected = posted.rejected[0]
  if (rejected) return { ...base, verdict: 'rejected', words: `In quarantine: ${rejected.reason}` }
  const all = posted.verdicts ?? []
  const bad = all.find((one) => one.verdict === 'alarm')
  if (bad) {
    const sentence = bad.alarms?.find((one) => one.sentence)?.sentence
    return { ...base, verdict: 'alarm', words: sentence ?? 'Signal: see the chart.' }
  }
  const word = all[0]?.verdict ?? 'pending'
  const words = {
    ok: 'Saved. In control.',
    pending: 'Saved. The verdict follows.',
    not_judged: 'Saved. Not judged: no limits yet.',
    alarm: '',
  }
  return { ...base, verdict: word, words: words[word] }
}
