// Alarms: the list, one alarm with its history, and what people do about it.
import { useComputed, useSignal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import { api, newKey, Refused, alarmOf, type AlarmDetail } from '../api'
import { time } from '../format'
import type { Alarm } from '../live/protocol'
import { isUnseen } from '../live/store'
import { badge, store } from '../screen'
import { NotFound } from './app'
import { Age, AlarmBadge, stateWords, useOffline, who } from './parts'

const SETTLE_MS = 5_000

function streamLabel(alarm: Alarm): string {
  store.catalogRev.value
  return store.streams.get(alarm.stream)?.label ?? alarm.stream
}

/** One tap: it was seen. Somebody else may have been first; then it says who. */
export function Seen({ alarm, onDone }: { alarm: Alarm; onDone?: () => void }) {
  const busy = useSignal(false)
  const said = useSignal('')
  const offline = useOffline()
  const tap = async () => {
    const name = await who()
    if (!name) return
    busy.value = true
    said.value = ''
    try {
      const after = await api.act(alarm.id, 'acknowledge', { who: name, version: alarm.version }, newKey())
      store.putAlarm(after)
      onDone?.()
    } catch (error) {
      said.value = conflictWords(error)
    } finally {
      busy.value = false
    }
  }
  if (!isUnseen(alarm)) return said.value ? <p role="alert">{said.value}</p> : null
  return (
    <div class="seen">
      <button class="primary big" disabled={busy.value || offline.value} onClick={() => void tap()}>
        Seen
      </button>
      {offline.value && <span class="quiet">Not now: the server is away.</span>}
      {said.value && <p role="alert">{said.value}</p>}
    </div>
  )
}

function conflictWords(error: unknown): string {
  if (!(error instanceof Refused)) throw error
  if (error.status === 409 && error.problem['alarm']) {
    const now = alarmOf(error.problem['alarm'] as Alarm)
    store.putAlarm(now)
    if (now.seen_by && now.state === 'ack') {
      const at = now.seen_at ? ` ${time(now.seen_at, store.site.value, store.now())}` : ''
      const why = now.cause ? ` (${now.cause})` : ''
      return `Already seen by ${now.seen_by}${at}${why}. Add a note?`
    }
    return `It has changed meanwhile: ${error.message}`
  }
  return `Not saved. Nothing was changed. ${error.message}`
}

const FILTERS = [
  ['open', 'Open'],
  ['new', 'New'],
  ['cause', 'Waiting for cause'],
  ['closed', 'Closed'],
] as const

export function Alarms() {
  const filter = useSignal<(typeof FILTERS)[number][0]>('open')
  const closed = useSignal<Alarm[]>([])
  const touched = useRef(0)
  const frozen = useSignal<Alarm[] | null>(null)
  const list = useComputed(() => {
    const all = filter.value === 'closed' ? closed.value : store.openAlarms.value
    if (filter.value === 'new') return all.filter(isUnseen)
    if (filter.value === 'cause') return all.filter((one) => one.needs_cause && !one.cause)
    return all
  })
  useEffect(() => {
    if (filter.value === 'closed') void api.closedAlarms().then((rows) => (closed.value = rows), () => undefined)
  }, [filter.value])
  // A list never moves under a finger: new ones wait until it was left alone for a while.
  const touch = () => {
    touched.current = performance.now()
    frozen.value ??= list.peek()
  }
  const thaw = () => (frozen.value = null)
  store.tick.value
  if (frozen.value && performance.now() - touched.current > SETTLE_MS) queueMicrotask(thaw)
  const ids = new Set(list.value.map((one) => one.id))
  const shown = frozen.value
    ? frozen.value.map((one) => store.alarms.get(one.id) ?? one).filter((one) => ids.has(one.id) || one.state === 'closed')
    : list.value
  const waiting = frozen.value ? list.value.filter((one) => !frozen.value!.some((old) => old.id === one.id)).length : 0
  return (
    <main class="narrow alarms">
      <div class="heading">
        <h1>Alarms</h1>
        <div class="group" role="group" aria-label="Show">
          {FILTERS.map(([key, label]) => (
            <button
              key={key}
              aria-pressed={filter.value === key}
              onClick={() => {
                thaw()
                filter.value = key
              }}
            >
              {label}
            </button>
          ))}
        </div>
      </div>
      {waiting > 0 && (
        <button class="waiting" onClick={thaw}>
          {waiting} new ▲
        </button>
      )}
      {shown.length === 0 && (
        <div class="panel">
          <p>{filter.value === 'open' ? 'No open alarms.' : 'None.'}</p>
        </div>
      )}
      <ul class="list" onPointerDown={touch} onFocusIn={touch}>
        {shown.map((alarm) => (
          <li key={alarm.id} class={`row p${alarm.priority}${isUnseen(alarm) ? ' unseen' : ''}`}>
            <a href={`/alarms/${alarm.id}`}>
              <span class="head">
                <AlarmBadge alarm={alarm} />
                <strong>{streamLabel(alarm)}</strong>
                <span class="quiet">
                  <Age since={alarm.opened} /> · {stateWords(alarm, store.now())}
                  {alarm.seen_by ? ` · ${alarm.seen_by}` : ''}
                </span>
              </span>
              <span class="sentence">{alarm.sentence}</span>
              {alarm.cause && (
                <span class="quiet">
                  Cause: {alarm.cause}
                  {alarm.action ? ` · ${alarm.action}` : ''}
                </span>
              )}
            </a>
            <Seen alarm={alarm} />
          </li>
        ))}
      </ul>
    </main>
  )
}

const KINDS: Record<string, string> = {
  raised: 'Raised',
  extended: 'Went on',
  escalated: 'Became worse',
  rang: 'Came back',
  returned: 'Back to normal',
  seen: 'Seen',
  cause: 'Cause',
  comment: 'Note',
  closed: 'Closed',
  withdrawn: 'Withdrawn',
  shelved: 'Snoozed',
  unshelved: 'Woken',
}

export function AlarmPage({ id }: { id: number }) {
  const detail = useSignal<AlarmDetail | null>(null)
  const missing = useSignal('')
  const live = useComputed(() => {
    store.alarmRev.value
    return store.alarms.get(id)
  })
  const version = live.value?.version
  useEffect(() => {
    let left = false
    api.alarm(id).then(
      (row) => {
        if (left) return
        detail.value = row
        missing.value = ''
      },
      (error: unknown) => {
        if (!left && error instanceof Refused) missing.value = error.status === 404 ? 'gone' : error.message
      },
    )
    return () => {
      left = true
    }
  }, [id, version, store.connection.value === 'live'])
  const known = detail.value
  const alarm = live.value && (!known || live.value.version >= known.version) ? live.value : known
  if (!alarm) {
    if (missing.value === 'gone' || Number.isNaN(id)) return <NotFound what="There is no such alarm." />
    return <p class="empty">{missing.value || 'Loading…'}</p>
  }
  const site = store.site.value
  return (
    <main class="narrow alarm">
      <div class={`panel alarm-head p${alarm.priority}`}>
        <p class="head">
          <AlarmBadge alarm={alarm} /> <strong>{stateWords(alarm, store.now())}</strong>
          <span class="quiet">
            {time(alarm.opened, site, store.now())} · <Age since={alarm.opened} />
          </span>
        </p>
        <h1>{streamLabel(alarm)}</h1>
        <p class="sentence">{alarm.sentence}</p>
        <div class="actions">
          <Seen alarm={alarm} />
          <a class="button big" href={`/c/${encodeURIComponent(alarm.stream)}`}>
            Chart
          </a>
        </div>
      </div>
      <CauseForm alarm={alarm} key={alarm.id} />
      <div class="panel">
        <h2>History</h2>
        <ol class="timeline">
          {(known?.history ?? []).map((change, i) => (
            <li key={i}>
              <span class="quiet">{time(change.at, site, store.now())}</span>
              <span>
                <strong>{KINDS[change.kind] ?? change.kind}</strong> {change.who && change.who !== 'andon' ? `by ${change.who}` : ''}
                {change.text ? ` · ${change.text}` : ''}
              </span>
            </li>
          ))}
        </ol>
      </div>
    </main>
  )
}

function Choice({ label, options, value }: { label: string; options: string[]; value: { value: string } }) {
  return (
    <fieldset class="choice">
      <legend>{label}</legend>
      <div class="group wrap">
        {options.map((option) => (
          <button
            type="button"
            key={option}
            aria-pressed={value.value === option}
            onClick={() => (value.value = value.value === option ? '' : option)}
          >
            {option}
          </button>
        ))}
      </div>
      <input
        aria-label={`${label} in own words`}
        placeholder="or in own words"
        maxLength={200}
        value={options.includes(value.value) ? '' : value.value}
        onInput={(event) => (value.value = event.currentTarget.value)}
      />
    </fieldset>
  )
}

/** Cause and action: a separate step, by whoever fixes it. A failure keeps what was typed. */
function CauseForm({ alarm }: { alarm: Alarm }) {
  const characteristic = store.characteristic(alarm.characteristic)
  const site = store.site.value
  const causes = characteristic?.causes.length ? characteristic.causes : site.causes
  const actions = characteristic?.actions.length ? characteristic.actions : site.actions
  const cause = useSignal(alarm.cause ?? '')
  const action = useSignal(alarm.action ?? '')
  const note = useSignal('')
  const said = useSignal<{ text: string; bad: boolean } | null>(null)
  const busy = useSignal(false)
  const key = useRef(newKey())
  const offline = useOffline()
  if (alarm.state === 'closed' && alarm.cause) {
    return (
      <div class="panel">
        <h2>Cause</h2>
        <p>
          {alarm.cause} · {alarm.action} {alarm.note ? `· ${alarm.note}` : ''}
        </p>
      </div>
    )
  }
  const act = async (command: string, body: object, done: string) => {
    const name = await who()
    if (!name) return
    busy.value = true
    said.value = null
    try {
      store.putAlarm(await api.act(alarm.id, command, { who: name, ...body }, key.current))
      said.value = { text: done, bad: false }
      if (command === 'comment') note.value = ''
      key.current = newKey()
    } catch (error) {
      if (error instanceof Refused && error.status >= 400 && error.status < 500) key.current = newKey()
      said.value = { text: conflictWords(error), bad: true }
    } finally {
      busy.value = false
    }
  }
  const version = alarm.version
  const save = () =>
    act('cause', { version, cause: cause.value, action: action.value, note: note.value }, 'Cause saved.')
  const open = !['closed', 'withdrawn'].includes(alarm.state)
  return (
    <form
      class="panel"
      onSubmit={(event) => {
        event.preventDefault()
        void save()
      }}
    >
      <h2>
        Cause and action {alarm.needs_cause && !alarm.cause && <span class="due">needed before it can close</span>}
      </h2>
      <Choice label="Cause" options={causes} value={cause} />
      <Choice label="Action" options={actions} value={action} />
      <label for="note">Note</label>
      <textarea
        id="note"
        rows={2}
        maxLength={2000}
        value={note.value}
        onInput={(event) => (note.value = event.currentTarget.value)}
      />
      {said.value && (
        <p role="alert" class={said.value.bad ? 'bad' : 'good'}>
          {said.value.text}
        </p>
      )}
      <div class="actions">
        <button class="primary big" disabled={busy.value || offline.value || !cause.value.trim()}>
          Save cause
        </button>
        <button
          type="button"
          class="big"
          disabled={busy.value || offline.value || !note.value.trim()}
          onClick={() => void act('comment', { text: note.value }, 'Note saved.')}
        >
          Only the note
        </button>
        {open && (
          <button
            type="button"
            class="big"
            disabled={busy.value || offline.value || alarm.active || (alarm.needs_cause && !alarm.cause)}
            onClick={() => void act('close', { version }, 'Closed.')}
          >
            Close alarm
          </button>
        )}
      </div>
      <p class="quiet">
        {offline.value && 'Not now: the server is away. '}
        {open && alarm.active && 'It can be closed once it is back to normal. '}
        {badge.value && `Saved as ${badge.value}.`}
      </p>
    </form>
  )
}
