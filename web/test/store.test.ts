import { beforeEach, describe, expect, it } from 'vitest'
import type { Alarm, Characteristic, Message, Row } from '../src/live/protocol'
import { owesCause, Store, waitsToBeSeen } from '../src/live/store'

const characteristic = (id: string, tags: Record<string, string>[] = [{}]): Characteristic => ({
  id, name: id.toUpperCase(), unit: 'mm', decimals: 2, station: 'line-1/op-1', part: '', class: 'standard',
  chart: 'i_mr', n: 1, expect: 30, plausible: [null, null], causes: [], actions: [],
  streams: tags.map((one) => ({ c: [id, ...Object.values(one)].join(':'), tags: one })),
}) // prettier-ignore

const welcome = (epoch = 'e1', build = 'b1'): Message => ({
  t: 'welcome', v: 1, epoch, now: 1000, build, max_window: 1000, alarm_seq: 0, chars: [characteristic('a')],
}) // prettier-ignore

const snap = (seq: number, versions: object = { '1': {} }): Message => ({
  t: 'snap', c: 'a', seq, partial: false, limits_version: 1, versions: versions as never,
  x: [seq], ts: [seq], y: [1], d: [null], n: [1], v: [1], f: [0], g: [0], l: {},
}) // prettier-ignore

const d = (...seqs: number[]): Message => ({
  t: 'd', now: 2000, p: seqs.map((seq): Row => ['a', seq, seq, seq, 0, seq, null, 1, 1, 0]),
}) // prettier-ignore

const alarm = (id: number, fields: Partial<Alarm> = {}): Alarm => ({
  id, characteristic: 'a', stream: 'a', class: 'control', state: 'unack', priority: 2, active: true,
  opened: id, last: { time: 0, key: 0 }, count: 1, rules: [], sentence: '', version: 1, needs_cause: false,
  seen_by: null, seen_at: null, cause: null, action: null, note: null, caused_by: null,
  returned_at: null, closed_at: null, shelved_until: null, ...fields,
}) // prettier-ignore

describe('the store', () => {
  let at = 0
  let store: Store

  beforeEach(() => {
    at = 0
    store = new Store(() => at)
    store.take(welcome())
  })

  it('draws a stream again only when it changed', () => {
    const stream = store.streams.get('a')!
    store.take(snap(5))
    const before = stream.rev.value
    store.take(d(6, 7))
    expect(stream.rev.value).toBe(before + 1)
    store.take(d(7))
    expect(stream.rev.value).toBe(before + 1)
    expect(stream.series!.seq).toBe(7)
  })

  it('asks again for a stream with a gap or an unknown version', () => {
    store.take(snap(5))
    expect(store.take(d(8))).toBe('a')
    store.take(snap(8, {}))
    expect(store.take(d(9))).toBe('a')
  })

  it('is live when everything is answered, not when the socket opens', () => {
    expect(store.connection.value).toBe('connecting')
    store.take({ t: 'ready', now: 1100 })
    expect(store.connection.value).toBe('live')
    store.lost()
    store.take(welcome())
    store.take(snap(5))
    expect(store.connection.value).toBe('stale')
    store.take({ t: 'ready', now: 1200 })
    expect(store.connection.value).toBe('live')
  })

  it("shows the server's clock between messages", () => {
    store.take({ t: 'hb', now: 50_000 })
    at += 700
    expect(store.now()).toBe(50_700)
    expect(store.silence()).toBe(700)
  })

  it('drops series and alarms when history was rewritten', () => {
    store.take(snap(5))
    store.take({ t: 'al', seq: 3, alarm: alarm(1) })
    store.take(welcome('e2'))
    expect(store.streams.get('a')!.series).toBeNull()
    expect(store.openAlarms.value).toEqual([])
    expect(store.alarmSeq).toBe(0)
  })

  it('notices a new build', () => {
    store.take(welcome('e1', 'b2'))
    expect(store.newBuild.value).toBe(true)
  })

  it('never takes an older version of an alarm', () => {
    store.take({ t: 'al', seq: 1, alarm: alarm(1, { version: 3, state: 'ack' }) })
    store.putAlarm(alarm(1, { version: 2 }))
    expect(store.alarms.get(1)!.state).toBe('ack')
  })

  it('lists unseen first, then by priority, and forgets closed ones', () => {
    store.take({
      t: 'alarms', seq: 4,
      alarms: [alarm(1, { state: 'ack', priority: 1 }), alarm(2, { priority: 3 }), alarm(3, { priority: 2 })],
    }) // prettier-ignore
    expect(store.openAlarms.value.map((one) => one.id)).toEqual([3, 2, 1])
    expect(store.worstOf.value.get('a')!.id).toBe(1)
    store.take({ t: 'al', seq: 5, alarm: alarm(1, { state: 'closed', version: 2 }) })
    expect(store.openAlarms.value).toHaveLength(2)
    expect(store.unseen.value).toHaveLength(2)
  })

  it('follows the catalog: new streams, other names, retired ones', () => {
    store.take({ t: 'char', char: characteristic('b', [{ cavity: '1' }, { cavity: '2' }]) })
    expect([...store.streams.keys()]).toEqual(['a', 'b:1', 'b:2'])
    expect(store.streams.get('b:2')!.label).toBe('B · cavity 2')
    store.take({ t: 'char', char: { id: 'a', retired: true } })
    expect(store.streams.has('a')).toBe(false)
  })

  it('takes new limits, and forgets a proposal that was decided', () => {
    store.take(snap(5, { '1': { state: 'active' }, '2': { state: 'proposed' } }))
    store.take({ t: 'lim', c: 'a', limits_version: 1, versions: { '1': { state: 'active' } } as never })
    expect(Object.keys(store.streams.get('a')!.versions)).toEqual(['1'])
  })

  it('tells how old the values are until fresh ones are there', () => {
    store.take({ t: 'ready', now: 5000 })
    at = 4000
    store.lost()
    at = 6000
    store.take({ ...welcome(), now: 11_000 } as Message)
    expect(store.freshUntil()).toBe(5000)
    expect(store.oldFor()).toBe(6000)
    store.take({ t: 'ready', now: 12_000 })
    expect(store.freshUntil()).toBe(12_000)
    expect(store.oldFor()).toBe(0)
  })

  it('shows what is new or true before what waits for its cause', () => {
    const worst = () => store.worstOf.value.get('a')!.id
    store.putAlarm(alarm(1, { state: 'latched', active: false, priority: 1 }))
    expect(worst()).toBe(1)
    store.putAlarm(alarm(2, { state: 'ack', priority: 3 }))
    expect(worst()).toBe(2)
    store.putAlarm(alarm(3, { state: 'rtn_unack', active: false, priority: 3 }))
    expect(worst()).toBe(3)
    store.putAlarm(alarm(4, { state: 'ack', priority: 2 }))
    expect(worst()).toBe(4)
  })

  it('keeps a snoozed alarm apart', () => {
    store.putAlarm(alarm(1, { state: 'shelved', shelved_until: 9000 }))
    expect(store.worstOf.value.get('a')).toBeUndefined()
    expect(store.snoozedOf.value.get('a')!.id).toBe(1)
    store.putAlarm(alarm(2, { state: 'shelved', shelved_until: 4000 }))
    expect(store.snoozedOf.value.get('a')!.id).toBe(2)
    store.putAlarm(alarm(2, { version: 2, state: 'ack' }))
    expect(store.worstOf.value.get('a')!.id).toBe(2)
  })

  it('lets nobody forget what was taken back or is in use no more', () => {
    expect(waitsToBeSeen(alarm(1, { state: 'withdrawn', active: false }))).toBe(true)
    expect(waitsToBeSeen(alarm(1, { state: 'out_of_service' }))).toBe(true)
    expect(waitsToBeSeen(alarm(1, { state: 'out_of_service', seen_by: 'Kim' }))).toBe(false)
    expect(waitsToBeSeen(alarm(1, { state: 'ack' }))).toBe(false)
  })

  it('asks for cause and action', () => {
    expect(owesCause(alarm(1))).toBe(false)
    expect(owesCause(alarm(1, { needs_cause: true, cause: 'Tool wear' }))).toBe(true)
    expect(owesCause(alarm(1, { needs_cause: true, cause: 'Tool wear', action: 'Tool changed' }))).toBe(false)
  })
})
