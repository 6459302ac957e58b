// Everything the screen shows, as signals: one store, fed by the one socket.
import { batch, computed, signal, type Signal } from '@preact/signals'
import type { Style } from '../format'
import type { Alarm, Characteristic, Message, Version } from './protocol'
import { Series } from './series'

export interface Site extends Style {
  name: string
  build: string
  causes: string[]
  actions: string[]
}

export interface Stream {
  c: string
  characteristic: Characteristic
  label: string
  tags: Record<string, string>
  series: Series | null
  versions: Record<string, Version>
  limitsVersion: number | null
  /** When the newest point came, by the server's clock. */
  arrivedAt: number
  /** Counts changes: whoever reads it draws again. */
  rev: Signal<number>
}

/** connecting: never was live; stale: was. */
export type Connection = 'connecting' | 'live' | 'stale'

export interface Wanted {
  window: number
  holders: number
}

const CLOSED = new Set(['closed'])

export class Store {
  readonly site = signal<Site>({
    name: '', timezone: 'UTC', locale: 'en-GB', build: '', causes: [], actions: [],
  }) // prettier-ignore
  readonly connection = signal<Connection>('connecting')
  /** The newest moment that the server has told. */
  readonly told = signal(0)
  readonly tick = signal(0)
  readonly newBuild = signal(false)
  readonly catalogRev = signal(0)
  readonly alarmRev = signal(0)
  readonly streams = new Map<string, Stream>()
  readonly alarms = new Map<number, Alarm>()
  readonly unknown = signal<ReadonlySet<string>>(new Set())
  epoch: string | null = null
  alarmSeq = 0
  private build: string | null = null
  private readonly characteristics = new Map<string, Characteristic>()
  private toldAt = 0
  private fresh = { told: 0, at: 0 }
  private readonly changed = new Set<Stream>()

  constructor(
    private readonly clock: () => number = () => performance.now(),
    private readonly windowOf: (c: string) => number = () => 100,
  ) {}

  readonly allStreams = computed(() => {
    this.catalogRev.value
    return [...this.streams.values()]
  })

  readonly openAlarms = computed(() => {
    this.alarmRev.value
    return [...this.alarms.values()]
      .filter((alarm) => !CLOSED.has(alarm.state))
      .sort((a, b) => rank(a) - rank(b) || a.priority - b.priority || b.opened - a.opened)
  })

  readonly worstOf = computed(() => {
    const worst = new Map<string, Alarm>()
    for (const alarm of this.openAlarms.value) {
      const before = worst.get(alarm.stream)
      if (alarm.state === 'shelved' || alarm.state === 'withdrawn') continue
      if (!before || weight(alarm) < weight(before)) worst.set(alarm.stream, alarm)
    }
    return worst
  })

  /** The alarm of a stream that somebody put aside; the one that comes back first. */
  readonly snoozedOf = computed(() => {
    const snoozed = new Map<string, Alarm>()
    for (const alarm of this.openAlarms.value) {
      if (alarm.state !== 'shelved') continue
      const before = snoozed.get(alarm.stream)
      if (!before || end(alarm) < end(before)) snoozed.set(alarm.stream, alarm)
    }
    return snoozed
  })

  readonly unseen = computed(() => this.openAlarms.value.filter(waitsToBeSeen))

  /** The server's clock, as far as this screen knows it. */
  now(): number {
    return this.told.peek() === 0 ? Date.now() : this.told.peek() + (this.clock() - this.toldAt)
  }

  /** Take up one message; true where a stream has to be asked for again. */
  take(message: Message): string | null {
    let again: string | null = null
    batch(() => {
      if ('now' in message) this.hear(message.now)
      again = this.dispatch(message)
      for (const stream of this.changed) stream.rev.value++
      this.changed.clear()
    })
    return again
  }

  private dispatch(message: Message): string | null {
    switch (message.t) {
      case 'welcome':
        if (this.epoch !== null && message.epoch !== this.epoch) this.forgetHistory()
        this.epoch = message.epoch
        if (this.build !== null && message.build !== this.build) this.newBuild.value = true
        this.build ??= message.build
        this.setCatalog(message.chars)
        return null
      case 'snap': {
        const stream = this.streams.get(message.c)
        if (!stream) return null
        stream.series = Series.of(message, this.windowOf(message.c), stream.series)
        stream.versions = message.versions
        stream.limitsVersion = message.limits_version
        stream.arrivedAt = Math.max(stream.arrivedAt, message.ts.at(-1) ?? 0)
        this.changed.add(stream)
        return null
      }
      case 'd': {
        let again: string | null = null
        for (const row of message.p) {
          const stream = this.streams.get(row[0])
          if (!stream?.series) continue
          const verdict = stream.series.append(row)
          if (verdict === 'gap' || (verdict === 'taken' && !stream.versions[row[8]])) again = row[0]
          if (verdict === 'taken') {
            stream.arrivedAt = message.now
            this.changed.add(stream)
          }
        }
        return again
      }
      case 'upd': {
        const stream = this.streams.get(message.c)
        if (!stream?.series) return null
        const verdict = stream.series.update(message)
        if (verdict === 'taken') this.changed.add(stream)
        return verdict === 'gap' ? message.c : null
      }
      case 'lim': {
        const stream = this.streams.get(message.c)
        if (!stream) return null
        stream.versions = { ...stream.versions, ...message.versions }
        for (const [number, version] of Object.entries(stream.versions)) {
          if (version.state === 'proposed' && !message.versions[number]) delete stream.versions[number]
        }
        stream.limitsVersion = message.limits_version
        this.changed.add(stream)
        return null
      }
      case 'char':
        if ('retired' in message.char) this.characteristics.delete(message.char.id)
        else this.characteristics.set(message.char.id, message.char)
        this.setCatalog([...this.characteristics.values()])
        return null
      case 'alarms':
        this.alarms.clear()
        for (const alarm of message.alarms) this.alarms.set(alarm.id, alarm)
        this.alarmSeq = message.seq
        this.alarmRev.value++
        return null
      case 'al':
        if (message.seq > this.alarmSeq) this.alarmSeq = message.seq
        this.putAlarm(message.alarm)
        return null
      case 'ready':
        this.connection.value = 'live'
        return null
      case 'err':
        if (message.code === 'unknown' && message.c) {
          this.unknown.value = new Set([...this.unknown.value, message.c])
        }
        return null
      case 'hb':
        return null
    }
  }

  /** An alarm as the API answered it, or the socket told it: the newer version wins. */
  putAlarm(alarm: Alarm): void {
    const known = this.alarms.get(alarm.id)
    if (known && known.version > alarm.version) return
    this.alarms.set(alarm.id, alarm)
    this.alarmRev.value++
    this.trimAlarms()
  }

  hear(now: number): void {
    this.told.value = now
    this.toldAt = this.clock()
  }

  lost(): void {
    if (this.connection.value !== 'live') return
    this.fresh = { told: this.told.peek(), at: this.toldAt }
    this.connection.value = 'stale'
  }

  /** The server's time of what is shown while it is old: opening a socket makes nothing fresh. */
  freshUntil(): number {
    return this.connection.value === 'stale' ? this.fresh.told : this.told.value
  }

  /** For how long what is shown is old. */
  oldFor(): number {
    return this.connection.peek() === 'stale' ? this.clock() - this.fresh.at : 0
  }

  /** How long ago the server was heard. */
  silence(): number {
    return this.clock() - this.toldAt
  }

  private trimAlarms(): void {
    if (this.alarms.size < 2000) return
    for (const [id, alarm] of this.alarms) if (CLOSED.has(alarm.state)) this.alarms.delete(id)
  }

  private forgetHistory(): void {
    for (const stream of this.streams.values()) {
      stream.series = null
      stream.rev.value++
    }
    this.alarms.clear()
    this.alarmSeq = 0
    this.alarmRev.value++
  }

  private setCatalog(all: Characteristic[]): void {
    this.characteristics.clear()
    const gone = new Set(this.streams.keys())
    for (const characteristic of all) {
      this.characteristics.set(characteristic.id, characteristic)
      for (const { c, tags } of characteristic.streams) {
        gone.delete(c)
        const known = this.streams.get(c)
        const label = labelOf(characteristic, tags)
        if (known) {
          known.characteristic = characteristic
          known.label = label
          known.rev.value++
        } else {
          this.streams.set(c, {
            c, characteristic, label, tags, series: null, versions: {}, limitsVersion: null,
            arrivedAt: 0, rev: signal(0),
          }) // prettier-ignore
        }
      }
    }
    for (const c of gone) this.streams.delete(c)
    this.catalogRev.value++
  }

  characteristic(id: string): Characteristic | undefined {
    return this.characteristics.get(id)
  }

  allCharacteristics(): Characteristic[] {
    return [...this.characteristics.values()]
  }
}

export function isUnseen(alarm: Alarm): boolean {
  return alarm.state === 'unack' || alarm.state === 'rtn_unack'
}

/** Whether cause and action still have to be entered before it can close. */
export function owesCause(alarm: Alarm): boolean {
  return alarm.needs_cause && !(alarm.cause && alarm.action)
}

/** Whether somebody still has to look: also at what was taken back, or is in use no more. */
export function waitsToBeSeen(alarm: Alarm): boolean {
  return isUnseen(alarm) || alarm.state === 'withdrawn' || (alarm.state === 'out_of_service' && !alarm.seen_by)
}

function rank(alarm: Alarm): number {
  if (waitsToBeSeen(alarm)) return 0
  return alarm.state === 'shelved' ? 2 : 1
}

/** What a tile shows first: what is true or new, by priority; then what waits for its cause. */
function weight(alarm: Alarm): number {
  return alarm.priority + (alarm.active || isUnseen(alarm) ? 0 : 10) - (isUnseen(alarm) ? 0.5 : 0)
}

function end(alarm: Alarm): number {
  return alarm.shelved_until ?? Infinity
}

function labelOf(characteristic: Characteristic, tags: Record<string, string>): string {
  const values = Object.entries(tags).map(([name, value]) => `${name} ${value}`)
  return [characteristic.name || characteristic.id, ...values].join(' · ')
}

export function lineOf(stream: Stream): string {
  return stream.characteristic.station?.split('/')[0] ?? 'plant'
}
