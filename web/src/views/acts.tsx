// What people do with an alarm in one tap: seen, snooze, wake up.
import { useComputed, useSignal } from '@preact/signals'
import { useRef } from 'preact/hooks'
import { alarmOf, api, newKey, Refused } from '../api'
import { hourAndMinute, time } from '../format'
import type { Alarm } from '../live/protocol'
import { waitsToBeSeen } from '../live/store'
import { store } from '../screen'
import { Modal, useOffline, who } from './parts'

const MINUTE_MS = 60_000
const SNOOZES: [minutes: number, label: string][] = [
  [15, '15 min'],
  [30, '30 min'],
  [60, '1 h'],
  [120, '2 h'],
  [240, '4 h'],
  [480, '8 h'],
]

/** Lines of an alarm's history. */
export const KINDS: Record<string, string> = {
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
  unshelved: 'Woken up',
  suppressed: 'Suppressed',
  unsuppressed: 'No longer suppressed',
  out_of_service: 'Out of service',
}

/** One tap: it was seen. Somebody else may have been first; then it says who. */
export function Seen({ alarm }: { alarm: Alarm }) {
  const { act, busy, said } = useAct(alarm)
  const offline = useOffline()
  const unseen = waitsToBeSeen(alarm)
  if (!unseen && !said.value) return null
  return (
    <div class="seen">
      {unseen && (
        <button class="primary big" disabled={busy.value || offline.value} onClick={() => void act('acknowledge', {})}>
          Seen
        </button>
      )}
      {unseen && offline.value && <span class="quiet">Not now: the server is away.</span>}
      {said.value && <p role="alert">{said.value}</p>}
    </div>
  )
}

/** Put an alarm aside for a while, with a reason; or bring it back. */
export function Snooze({ alarm }: { alarm: Alarm }) {
  const asking = useSignal(false)
  const { act, busy, said } = useAct(alarm)
  const offline = useOffline()
  const may = alarm.active && ['unack', 'ack'].includes(alarm.state)
  if (!may && alarm.state !== 'shelved' && !said.value) return null
  return (
    <div class="seen">
      {alarm.state === 'shelved' && (
        <button class="big" disabled={busy.value || offline.value} onClick={() => void act('unshelve', {})}>
          Wake up now
        </button>
      )}
      {may && (
        <button class="big" disabled={busy.value || offline.value} onClick={() => (asking.value = true)}>
          Snooze…
        </button>
      )}
      {said.value && !asking.value && <p role="alert">{said.value}</p>}
      {asking.value && may && (
        <SnoozeDialog
          said={said.value}
          busy={busy.value || offline.value}
          onClose={() => (asking.value = false)}
          onSnooze={async (reason, until) => {
            if (await act('shelve', { reason, until: new Date(until).toISOString() })) asking.value = false
          }}
        />
      )}
    </div>
  )
}

interface SnoozeProps {
  said: string
  busy: boolean
  onClose: () => void
  onSnooze: (reason: string, until: number) => Promise<void>
}

function SnoozeDialog({ said, busy, onClose, onSnooze }: SnoozeProps) {
  const reason = useSignal('')
  const minutes = useSignal(0)
  const until = useComputed(() => {
    store.tick.value
    return store.now() + minutes.value * MINUTE_MS
  })
  const ready = minutes.value > 0 && reason.value.trim() !== ''
  return (
    <Modal label="Snooze this alarm" onClose={onClose}>
      <form
        method="dialog"
        onSubmit={(event) => {
          event.preventDefault()
          if (ready && !busy) void onSnooze(reason.value.trim(), until.value)
        }}
      >
        <h2>Snooze this alarm</h2>
        <p class="quiet">It comes back by itself, and at once if it gets worse.</p>
        <label for="reason">Why it can wait</label>
        <input
          id="reason"
          autocomplete="off"
          maxLength={500}
          value={reason.value}
          onInput={(event) => (reason.value = event.currentTarget.value)}
          autofocus
        />
        <fieldset class="choice">
          <legend>For how long</legend>
          <div class="group wrap">
            {SNOOZES.map(([length, label]) => (
              <button
                type="button"
                key={length}
                aria-pressed={minutes.value === length}
                onClick={() => (minutes.value = length)}
              >
                {label}
              </button>
            ))}
          </div>
        </fieldset>
        {said && (
          <p role="alert" class="bad">
            {said}
          </p>
        )}
        <div class="actions">
          <button class="primary big" disabled={!ready || busy}>
            {minutes.value ? `Snooze until ${hourAndMinute(until.value, store.site.value, store.now())}` : 'Snooze'}
          </button>
          <button class="big" type="button" onClick={onClose}>
            Cancel
          </button>
        </div>
      </form>
    </Modal>
  )
}

/** Sends commands of whoever stands here; a repeat after a failure is the same command to the server. */
export function useAct(alarm: Alarm) {
  const busy = useSignal(false)
  const said = useSignal('')
  const last = useRef({ key: '', command: '' })
  const act = async (command: string, body: object): Promise<boolean> => {
    const name = await who()
    if (!name) return false
    const content = { who: name, version: alarm.version, ...body }
    const written = command + JSON.stringify(content)
    if (last.current.command !== written) last.current = { key: newKey(), command: written }
    busy.value = true
    said.value = ''
    try {
      store.putAlarm(await api.act(alarm.id, command, content, last.current.key))
      last.current = { key: '', command: '' }
      return true
    } catch (error) {
      said.value = conflictWords(error, command, alarm.version)
      return false
    } finally {
      busy.value = false
    }
  }
  return { act, busy, said }
}

interface First {
  who: string
  kind: string
  at: string
}

function conflictWords(error: unknown, command: string, version: number): string {
  if (!(error instanceof Refused)) throw error
  const message = error.message.replace(/[.!]?$/, '.').replace(/^./, (first) => first.toUpperCase())
  if (error.status !== 409 || !error.problem['alarm']) return `Not saved. Nothing was changed. ${message}`
  const now = alarmOf(error.problem['alarm'] as Alarm)
  store.putAlarm(now)
  // The same version: nobody was faster, the alarm's state does not allow it.
  if (now.version === version) return `Not saved. ${message}`
  if (command === 'acknowledge' && now.seen_by && now.state === 'ack') {
    const at = now.seen_at ? ` ${time(now.seen_at, store.site.value, store.now())}` : ''
    const why = now.cause ? ` (${now.cause})` : ''
    return `Already seen by ${now.seen_by}${at}${why}. Add a note?`
  }
  const first = error.problem['first'] as First | undefined
  if (!first || first.who === 'andon') return `Not saved. It has changed meanwhile: ${message}`
  const at = time(Date.parse(first.at), store.site.value, store.now())
  return `Not saved. ${first.who} was first: ${(KINDS[first.kind] ?? first.kind).toLowerCase()} ${at}. Look again.`
}
