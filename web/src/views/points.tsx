// Points in words and figures: the one that is picked, all as a table, and what a chart shows.
import { lineAt, type Kind } from '../chart/lines'
import { figure, scaleOf, unitOf, withUnit } from '../figures'
import { time } from '../format'
import { CUT, EXCLUDED, LATE, PARTIAL, RETROSPECTIVE, TRIAL, UNJUDGED } from '../live/protocol'
import type { Stream } from '../live/store'
import { decode, inWords, locationMark, specSide } from '../live/violations'
import { store } from '../screen'
import { Shape, WORD } from './parts'

/** What the chart shows, in words. */
export function describe(stream: Stream, kind: Kind): string {
  stream.rev.value
  const series = stream.series
  if (!series || series.length === 0) return 'No points yet.'
  const i = series.length - 1
  const style = store.site.value
  const line = lineAt(series, i, stream.versions, kind)
  const value = kind === 'location' ? series.y[i]! : series.d[i]!
  const facts = stream.characteristic
  const [point, limit] = kind === 'location' ? (['value', 'limit'] as const) : (['spread', 'spreadLimit'] as const)
  const parts = [`${series.length} points`]
  if (!Number.isNaN(value)) parts.push(`last ${withUnit(facts, point, value, style, series.y[i]!)}`)
  if (line) parts.push(`center ${withUnit(facts, limit, line.cl, style, scaleOf(line))}`)
  const bad = decode(series.f[i]!).filter((one) => one.chart === kind)
  parts.push(bad.length ? bad.map(inWords).join(', ') : 'no signal')
  return parts.join(', ') + '.'
}

function flagWords(flags: number): string[] {
  const words: [number, string][] = [
    [CUT, 'after a boundary'],
    [PARTIAL, 'partial subgroup'],
    [LATE, 'late'],
    [EXCLUDED, 'excluded'],
    [RETROSPECTIVE, 'retrospective'],
    [UNJUDGED, 'not judged'],
    [TRIAL, 'trial limits'],
  ]
  return words.filter(([flag]) => flags & flag).map(([, word]) => word)
}

export function Readout({ stream, place }: { stream: Stream; place: number | null }) {
  stream.rev.value
  const series = stream.series
  const i = place === null || !series ? -1 : place - series.first
  if (!series || i < 0 || i >= series.length) {
    return <p class="readout quiet">Tap a point, or use the arrow keys.</p>
  }
  const style = store.site.value
  const facts = stream.characteristic
  const version = stream.versions[series.v[i]!]
  const spec = specSide(series, i, version)
  const words = decode(series.f[i]!).map(inWords).concat(flagWords(series.g[i]!))
  if (spec) words.unshift(spec === 'upper' ? 'above specification' : 'below specification')
  return (
    <p class="readout" aria-live="polite">
      <strong>{withUnit(facts, 'value', series.y[i]!, style)}</strong>
      <span>{time(series.ts[i]!, style, store.now())}</span>
      {series.n[i]! > 1 && <span>n {series.n[i]}</span>}
      {!Number.isNaN(series.d[i]!) && <span>spread {withUnit(facts, 'spread', series.d[i]!, style, series.y[i]!)}</span>}
      <span>limits v{series.v[i]}</span>
      <span>{words.length ? words.join(', ') : 'in control'}</span>
    </p>
  )
}

export function Table({ stream }: { stream: Stream }) {
  stream.rev.value
  const series = stream.series
  const style = store.site.value
  const facts = stream.characteristic
  const rows = series ? Array.from({ length: Math.min(series.length, 200) }, (_, k) => series.length - 1 - k) : []
  return (
    <div class="scroll tableview" tabIndex={0} aria-label="Points as a table">
      <table>
        <caption class="hidden">{stream.label}, newest first</caption>
        <thead>
          <tr>
            <th>Time</th>
            <th class="num">Value {unitOf(facts) && `(${unitOf(facts)})`}</th>
            <th class="num">Spread</th>
            <th class="num">n</th>
            <th>Limits</th>
            <th>Signals</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((i) => {
            const mark = locationMark(series!, i, stream.versions[series!.v[i]!])
            return (
              <tr key={`${series!.ts[i]}/${series!.x[i]}`}>
                <td>{time(series!.ts[i]!, style, store.now())}</td>
                <td class="num">{figure(facts, 'value', series!.y[i]!, style)}</td>
                <td class="num">{Number.isNaN(series!.d[i]!) ? '' : figure(facts, 'spread', series!.d[i]!, style, series!.y[i]!)}</td>
                <td class="num">{series!.n[i]}</td>
                <td>v{series!.v[i]}</td>
                <td>
                  {mark.priority ? (
                    <>
                      <Shape priority={mark.priority} /> {WORD[mark.priority]}{' '}
                    </>
                  ) : null}
                  {decode(series!.f[i]!).map(inWords).concat(flagWords(series!.g[i]!)).join(', ')}
                </td>
              </tr>
            )
          })}
        </tbody>
      </table>
    </div>
  )
}
