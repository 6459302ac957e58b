// One alarm: what happened, what people did about it, and what is left to do.
import { useComputed, useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { api, Refused, type AlarmDetail } from '../api'
import { time } from '../format'
import { store } from '../screen'
import { KINDS, Seen, Snooze } from './acts'
import { streamLabel } from './alarms'
import { CauseForm } from './cause'
import { Age, AlarmBadge, NotFound, stateWords } from './parts'

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
          <AlarmBadge alarm={alarm} />{' '}
          <strong>
            {stateWords(alarm, store.now())}
            {alarm.seen_by ? ` · ${alarm.seen_by}` : ''}
          </strong>
          <span class="quiet">
            {time(alarm.opened, site, store.now())} · <Age since={alarm.opened} />
          </span>
        </p>
        <h1>{streamLabel(alarm)}</h1>
        <p class="sentence">{alarm.sentence}</p>
        <div class="actions">
          <Seen alarm={alarm} />
          <Snooze alarm={alarm} />
          {store.streams.has(alarm.stream) ? (
            <a class="button big" href={`/c/${encodeURIComponent(alarm.stream)}`}>
              Chart
            </a>
          ) : (
            <a class="button big" href="/sources">
              Sources
            </a>
          )}
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
