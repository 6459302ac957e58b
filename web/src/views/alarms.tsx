// All alarms: what is new first, filters, and a list that keeps still.
import { useComputed, useSignal, useSignalEffect, type ReadonlySignal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import { api } from '../api'
import type { Alarm } from '../live/protocol'
import { isUnseen, owesCause, waitsToBeSeen } from '../live/store'
import { store } from '../screen'
import { Seen } from './acts'
import { Age, AlarmBadge, stateWords } from './parts'

const SETTLE_MS = 5_000

export function streamLabel(alarm: Alarm): string {
  store.catalogRev.value
  const label = store.streams.get(alarm.stream)?.label
  return label ?? alarm.stream.replace(/^source:/, 'Source ')
}

const FILTERS = [
  ['open', 'Open'],
  ['new', 'New'],
  ['cause', 'Waiting for cause'],
  ['closed', 'Closed'],
] as const

const NONE = {
  open: 'No open alarms.',
  new: 'Nothing new: every open alarm was seen.',
  cause: 'No alarm waits for its cause.',
  closed: 'No alarm has been closed yet.',
}

/**
 * A list never moves under a finger: while it has the focus, or was touched a moment ago, rows keep their
 * places and their sentences, and new ones wait.
 */
function useStill(list: ReadonlySignal<Alarm[]>) {
  const listRef = useRef<HTMLUListElement>(null)
  const touched = useRef(0)
  const held = useSignal<Alarm[] | null>(null)
  const hold = () => {
    touched.current = performance.now()
    held.value ??= list.peek()
  }
  const release = () => (held.value = null)
  useSignalEffect(() => {
    store.tick.value
    const inside = listRef.current?.contains(document.activeElement) && document.hasFocus()
    if (held.peek() && !inside && performance.now() - touched.current > SETTLE_MS) release()
  })
  const rows = useComputed(() => {
    if (!held.value) return list.value
    store.alarmRev.value
    return held.value.map((old) => ({ ...(store.alarms.get(old.id) ?? old), sentence: old.sentence }))
  })
  const waiting = useComputed(() => {
    const shown = new Set(held.value?.map((one) => one.id))
    return held.value ? list.value.filter((one) => !shown.has(one.id)).length : 0
  })
  return { rows, waiting, hold, release, listRef }
}

export function Alarms() {
  const filter = useSignal<(typeof FILTERS)[number][0]>('open')
  const closed = useSignal<Alarm[]>([])
  const failed = useSignal('')
  const list = useComputed(() => {
    const all = filter.value === 'closed' ? closed.value : store.openAlarms.value
    if (filter.value === 'new') return all.filter(waitsToBeSeen)
    if (filter.value === 'cause') return all.filter(owesCause)
    return all
  })
  useEffect(() => {
    failed.value = ''
    if (filter.value !== 'closed') return
    void api.closedAlarms().then(
      (rows) => (closed.value = rows),
      (error: unknown) => (failed.value = (error as Error).message),
    )
  }, [filter.value])
  const { rows, waiting, hold, release, listRef } = useStill(list)
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
                release()
                filter.value = key
              }}
            >
              {label}
            </button>
          ))}
        </div>
      </div>
      {waiting.value > 0 && (
        <button class="waiting" onClick={release}>
          {waiting.value} new ▲
        </button>
      )}
      {rows.value.length === 0 && (
        <div class="panel">
          <p>{failed.value || NONE[filter.value]}</p>
        </div>
      )}
      <ul class="list" ref={listRef} onPointerDown={hold} onFocusIn={hold}>
        {rows.value.map((alarm) => (
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
