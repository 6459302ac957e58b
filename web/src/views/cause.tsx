// Cause and action of an alarm: a step of its own, for whoever fixes it.
import { useSignal } from '@preact/signals'
import type { Alarm } from '../live/protocol'
import { owesCause } from '../live/store'
import { badge, store } from '../screen'
import { useAct } from './acts'
import { useOffline } from './parts'

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
export function CauseForm({ alarm }: { alarm: Alarm }) {
  const characteristic = store.characteristic(alarm.characteristic)
  const site = store.site.value
  const causes = characteristic?.causes.length ? characteristic.causes : site.causes
  const actions = characteristic?.actions.length ? characteristic.actions : site.actions
  const cause = useSignal(alarm.cause ?? '')
  const action = useSignal(alarm.action ?? '')
  const note = useSignal('')
  const done = useSignal('')
  const { act, busy, said } = useAct(alarm)
  const offline = useOffline()
  if (alarm.state === 'closed' && alarm.cause) {
    return (
      <div class="panel">
        <h2>Cause</h2>
        <p>
          {[alarm.cause, alarm.action, alarm.note].filter(Boolean).join(' · ')}
        </p>
      </div>
    )
  }
  const send = async (command: string, body: object, words: string) => {
    done.value = ''
    if (!(await act(command, body))) return
    done.value = words
    note.value = ''
  }
  const save = () =>
    send('cause', { cause: cause.value.trim(), action: action.value.trim(), note: note.value.trim() }, 'Cause saved.')
  const ready = cause.value.trim() !== '' && (!alarm.needs_cause || action.value.trim() !== '')
  const open = alarm.state !== 'closed'
  return (
    <form
      class="panel"
      onSubmit={(event) => {
        event.preventDefault()
        if (ready) void save()
      }}
    >
      <h2>
        Cause and action {owesCause(alarm) && <span class="due">needed before it can close</span>}
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
      {(said.value || done.value) && (
        <p role="alert" class={said.value ? 'bad' : 'good'}>
          {said.value || done.value}
        </p>
      )}
      <div class="actions">
        <button class="primary big" disabled={busy.value || offline.value || !ready}>
          Save cause
        </button>
        <button
          type="button"
          class="big"
          disabled={busy.value || offline.value || !note.value.trim()}
          onClick={() => void send('comment', { text: note.value.trim() }, 'Note saved.')}
        >
          Only the note
        </button>
        {open && (
          <button
            type="button"
            class="big"
            disabled={busy.value || offline.value || alarm.active || (alarm.state !== 'withdrawn' && owesCause(alarm))}
            onClick={() => void send('close', {}, 'Closed.')}
          >
            Close alarm
          </button>
        )}
      </div>
      <p class="quiet">
        {offline.value && 'Not now: the server is away. '}
        {open && alarm.active && 'It can be closed once it is back to normal. '}
        {owesCause(alarm) && cause.value.trim() && !ready && 'Say what was done, too. '}
        {badge.value && `It is saved as ${badge.value}.`}
      </p>
    </form>
  )
}
