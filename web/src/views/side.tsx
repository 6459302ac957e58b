// Beside the charts: the last value, its alarms, the limits in force and those before.
import { useComputed } from '@preact/signals'
import { limitsFor } from '../chart/lines'
import { figure, isShare, scaleOf, unitOf } from '../figures'
import { day, type Style } from '../format'
import type { Characteristic, Spec, Version } from '../live/protocol'
import type { Stream } from '../live/store'
import { go } from '../router'
import { store } from '../screen'
import { Seen } from './acts'
import { Age, AlarmBadge, Shape, stateWords, useSilence, WORD } from './parts'
import { lastMark, lastValue, sideArrow } from './tile'

export function Side({ stream }: { stream: Stream }) {
  stream.rev.value
  const silence = useSilence(stream)
  const alarms = useComputed(() => store.openAlarms.value.filter((one) => one.stream === stream.c))
  const series = stream.series
  const style = store.site.value
  const mark = lastMark(stream)
  const last = series && series.length ? series.length - 1 : -1
  const text = lastValue(stream, style)
  const unit = unitOf(stream.characteristic)
  const old = store.connection.value !== 'live' || silence.value > 0
  return (
    <aside class="side" aria-label="State">
      <div class={`panel last${old ? ' old' : ''}`}>
        <div class="big-value" style={{ '--chars': text.length, '--unit': `${unit.length + 0.5}rem` }}>
          <span class="digits">{text}</span>
          <span class="unit">{unit}</span>
        </div>
        <p class="quiet">
          {last >= 0 && <Age since={stream.arrivedAt} />}
          {silence.value > 0 && <strong class="nodata-word"> NO DATA</strong>}
          {last >= 0 && isShare(stream.characteristic) && ` · ${series!.n[last]} parts inspected`}
          {last >= 0 && stream.characteristic.n > 1 && ` · mean of ${series!.n[last]}`}
        </p>
        {mark.priority > 0 && (
          <p class={`verdict p${mark.priority}`}>
            <Shape priority={mark.priority} /> {WORD[mark.priority]} {sideArrow(stream)}
          </p>
        )}
      </div>
      <div class="panel">
        <h2>Alarms</h2>
        {alarms.value.length === 0 && <p class="quiet">No open alarms.</p>}
        {alarms.value.map((alarm) => (
          <article class="alarm-card" key={alarm.id}>
            <a href={`/alarms/${alarm.id}`}>
              <AlarmBadge alarm={alarm} arrow={alarm.class === 'silent' ? '' : sideArrow(stream)} />
              <span class="quiet">
                {stateWords(alarm, store.now())}
                {alarm.seen_by ? ` · ${alarm.seen_by}` : ''} · <Age since={alarm.opened} />
              </span>
              <span class="sentence">{alarm.sentence}</span>
            </a>
            <Seen alarm={alarm} />
          </article>
        ))}
      </div>
      <Versions stream={stream} />
      <button onClick={() => go(`/entry/${encodeURIComponent(stream.c)}`)}>Enter a measurement</button>
    </aside>
  )
}

function specText(facts: Characteristic, { lower, upper }: Spec, style: Style): string {
  const show = (value: number) => figure(facts, 'bound', value, style)
  if (lower === null) return upper === null ? '–' : `at most ${show(upper)}`
  return upper === null ? `at least ${show(lower)}` : `${show(lower)} … ${show(upper)}`
}

export function legend(version: Version): string {
  const style = store.site.value
  const at = version.approved_at ?? version.created_at
  const how = version.method === 'given' ? 'GIVEN' : version.method === 'entered' ? 'entered' : 'frozen'
  return [`${how} v${version.number}`, version.author, at > 0 ? day(at, style) : '', version.source ?? '']
    .filter(Boolean)
    .join(' · ')
}

function Versions({ stream }: { stream: Stream }) {
  stream.rev.value
  const style = store.site.value
  const facts = stream.characteristic
  const series = stream.series
  const all = Object.values(stream.versions).sort((a, b) => b.number - a.number)
  const current = all.find((one) => one.number === stream.limitsVersion)
  // The limits of a proportion vary with n: these are the newest point's.
  const n = isShare(facts) && series && series.length ? series.n[series.length - 1]! : null
  const line = current ? (n === null ? current.x : limitsFor(current, n)) : null
  const show = (value: number | null) => (value === null ? 'none' : figure(facts, 'limit', value, style, line ? scaleOf(line) : value))
  const unit = isShare(facts) ? ' %' : ''
  return (
    <div class="panel">
      <h2>
        Limits{n !== null && line && <span class="quiet"> of {n} parts</span>}
      </h2>
      {!current && <p class="quiet">No limits in force.</p>}
      {line && (n !== null || !isShare(facts)) && (
        <dl class="facts">
          <dt>UCL</dt>
          <dd>{show(line.ucl)}{line.ucl !== null && unit}</dd>
          <dt>CL</dt>
          <dd>{show(line.cl)}{unit}</dd>
          <dt>LCL</dt>
          <dd>{show(line.lcl)}{line.lcl !== null && unit}</dd>
          {current?.spec && (
            <>
              <dt>Spec</dt>
              <dd>{specText(facts, current.spec, style)}</dd>
            </>
          )}
        </dl>
      )}
      <ul class="versions">
        {all.slice(0, 4).map((version) => (
          <li key={version.number} class={version.number === stream.limitsVersion ? 'current' : ''}>
            {version.state === 'proposed' && <strong>PROPOSED </strong>}
            {version.state === 'trial' && <strong>TRIAL </strong>}
            {version.state === 'collecting' ? `v${version.number} · collecting` : legend(version)}
          </li>
        ))}
      </ul>
      <a class="button" href={`/limits/${encodeURIComponent(stream.characteristic.id)}`}>
        All versions
      </a>
    </div>
  )
}
