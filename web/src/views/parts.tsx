// Small pieces that every screen uses: marks, ages, words for states.
import { signal, useComputed, useSignal, useSignalEffect } from '@preact/signals'
import type { ComponentChildren } from 'preact'
import { useEffect, useRef } from 'preact/hooks'
import { age, hourAndMinute, time } from '../format'
import type { Alarm } from '../live/protocol'
import type { Stream } from '../live/store'
import { badge, setBadge, socket, store } from '../screen'

export const WORD = ['', 'SPEC', 'OOC', 'RUN', 'NO DATA'] as const
const SEEN_WORD: Partial<Record<Alarm['state'], string>> = { ack: 'ACK', latched: 'CAUSE?', shelved: 'SNOOZED' }
const MEANING = ['', 'outside specification', 'outside control limits', 'run rule', 'no data'] as const

/** Square, diamond, disc: the shape says what the colour says; hollow: seen, still true. */
export function Shape({ priority, hollow = false }: { priority: number; hollow?: boolean }) {
  const kind = `shape p${priority}${hollow ? ' hollow' : ''}`
  return (
    <svg class={kind} viewBox="0 0 16 16" width="1em" height="1em" aria-hidden="true">
      {priority === 1 && <rect x="2.5" y="2.5" width="11" height="11" />}
      {priority === 2 && <path d="M8 1.2 14.8 8 8 14.8 1.2 8z" />}
      {priority === 3 && <circle cx="8" cy="8" r="5.6" />}
      {priority === 4 && <path d="M2 13 13 2M2 8 8 2M8 14l6-6" />}
    </svg>
  )
}

export function stateWords(alarm: Alarm, now: number): string {
  const style = store.site.value
  switch (alarm.state) {
    case 'unack':
      return 'New'
    case 'ack':
      return 'Seen'
    case 'rtn_unack':
      return 'Back to normal, not seen'
    case 'latched':
      return 'Waiting for cause'
    case 'shelved':
      return `Snoozed until ${alarm.shelved_until ? hourAndMinute(alarm.shelved_until, style, now) : 'it is back to normal'}`
    case 'suppressed':
      return 'Suppressed'
    case 'out_of_service':
      return 'Out of service'
    case 'withdrawn':
      return 'Withdrawn by a correction'
    case 'closed':
      return 'Closed'
  }
}

export function AlarmBadge({ alarm, arrow = '' }: { alarm: Alarm; arrow?: string }) {
  const seen = ['ack', 'latched', 'shelved'].includes(alarm.state)
  const back = alarm.priority === 4 && !alarm.active
  const word = SEEN_WORD[alarm.state] ?? (back ? 'DATA BACK' : WORD[alarm.priority])
  const title = `${MEANING[alarm.priority]}: ${stateWords(alarm, store.now())}`
  return (
    <span class={`badge p${alarm.priority}${seen ? ' seen' : ''}`} title={title}>
      <Shape priority={alarm.priority} hollow={seen} />
      {word}
      {arrow && <span class="arrow">{arrow}</span>}
    </span>
  )
}

/** Somebody put it aside: a mark that calls nobody, and says when it comes back. */
export function SnoozedBadge({ alarm }: { alarm: Alarm }) {
  const until = alarm.shelved_until ? ` ${hourAndMinute(alarm.shelved_until, store.site.value, store.now())}` : ''
  return (
    <span class={`badge p${alarm.priority} seen`} title={stateWords(alarm, store.now())}>
      <Shape priority={alarm.priority} hollow />
      SNOOZED{until}
    </span>
  )
}

/** Keep streams subscribed while a screen shows them. */
export function useStreams(names: string[], window: number, rate: number): void {
  const key = names.join('\n')
  useEffect(() => (names.length ? socket.show(names, window, rate) : undefined), [key, window, rate])
}

/** How long a stream may be silent before it says so. */
export function patience(stream: Stream): number {
  const { expect, n } = stream.characteristic
  return expect === null ? Infinity : 3000 * expect * Math.max(1, n)
}

export function useSilence(stream: Stream) {
  return useComputed(() => {
    store.tick.value
    stream.rev.value
    const alarm = store.worstOf.value.get(stream.c)
    if (stream.arrivedAt === 0) return alarm?.class === 'silent' && alarm.active ? store.now() - alarm.opened : 0
    const silent = store.now() - stream.arrivedAt
    if (alarm?.class === 'silent' && alarm.active) return silent
    return silent > patience(stream) ? silent : 0
  })
}

export function Clock() {
  const text = useComputed(() => {
    store.tick.value
    const now = store.now()
    return time(now, store.site.value, now)
  })
  return <span class="clock">{text}</span>
}

/** An age that counts on its own. */
export function Age({ since, suffix = ' ago' }: { since: number; suffix?: string }) {
  const text = useComputed(() => {
    store.tick.value
    return age(store.now() - since) + suffix
  })
  return <span class="age">{text}</span>
}

export function Modal({
  label,
  children,
  onClose,
}: {
  label: string
  children: ComponentChildren
  onClose: () => void
}) {
  const ref = useRef<HTMLDialogElement>(null)
  useEffect(() => {
    const dialog = ref.current!
    const before = document.activeElement as HTMLElement | null
    dialog.showModal()
    return () => before?.focus?.()
  }, [])
  return (
    <dialog
      ref={ref}
      aria-label={label}
      onCancel={(event) => {
        event.preventDefault()
        onClose()
      }}
    >
      {children}
    </dialog>
  )
}

export function NotFound({ what }: { what: string }) {
  return (
    <main class="narrow">
      <div class="panel">
        <h1>{what}</h1>
        <p>It may have been renamed or retired. All characteristics are on the wall.</p>
        <p>
          <a class="button" href="/">
            To the wall
          </a>
        </p>
      </div>
    </main>
  )
}

const asking = { resolve: null as ((name: string | null) => void) | null }

/** Who stands here: asked once a shift, then kept by the station. */
export function BadgeDialog() {
  const open = useSignal(false)
  const name = useSignal('')
  useSignalEffect(() => {
    open.value = askedForBadge.value > 0
    name.value = badge.peek()
  })
  if (!open.value) return null
  const done = (value: string | null) => {
    if (value) setBadge(value)
    open.value = false
    asking.resolve?.(value)
    asking.resolve = null
  }
  return (
    <Modal label="Who are you?" onClose={() => done(null)}>
      <form
        method="dialog"
        onSubmit={(event) => {
          event.preventDefault()
          if (name.value.trim()) done(name.value.trim())
        }}
      >
        <h2>Who are you?</h2>
        <label for="badge">Name or badge. This station keeps it for the shift.</label>
        <input
          id="badge"
          autocomplete="off"
          maxLength={100}
          value={name.value}
          onInput={(event) => (name.value = event.currentTarget.value)}
          autofocus
        />
        <div class="actions">
          <button class="primary big" type="submit" disabled={!name.value.trim()}>
            That is me
          </button>
          <button class="big" type="button" onClick={() => done(null)}>
            Cancel
          </button>
        </div>
      </form>
    </Modal>
  )
}


const askedForBadge = signal(0)

/** The name at this station; asks where there is none yet. */
export function who(again = false): Promise<string | null> {
  if (badge.value && !again) return Promise.resolve(badge.value)
  return new Promise((resolve) => {
    asking.resolve?.(null)
    asking.resolve = resolve
    askedForBadge.value++
  })
}

/** Nothing can be stored while the server is away: a control says so instead of failing. */
export function useOffline() {
  return useComputed(() => store.connection.value !== 'live')
}
