// The one socket of the page: subscribes to what is shown, notices silence, comes back for ever.
import type { Message } from './protocol'
import type { Store, Wanted } from './store'

const STALE_MS = 3_000
const DEAD_MS = 10_000
const FIRST_WAIT_MS = 250
const LONGEST_WAIT_MS = 10_000
const ECHO_MS = 1_000

export class Socket {
  private readonly wanted = new Map<string, Wanted>()
  private socket: WebSocket | null = null
  private welcomed = false
  private attempts = 0
  private echoed = 0
  private openedAt = 0
  private rate = 10
  private timer: ReturnType<typeof setTimeout> | undefined
  private pending: Set<string> | null = null

  constructor(
    private readonly store: Store,
    private readonly url: string,
    /** The server did not let the socket in: it may be away, or want the access token again. */
    private readonly refused: () => void = () => undefined,
  ) {
    setInterval(() => this.watch(), 500)
    addEventListener('online', () => this.hurry())
    addEventListener('offline', () => this.drop())
    document.addEventListener('visibilitychange', () => !document.hidden && this.watch())
    this.connect()
  }

  windowOf(c: string): number {
    return this.wanted.get(c)?.window ?? 100
  }

  /** Show these streams; returns how to give them up. */
  show(streams: string[], window: number, rate: number): () => void {
    this.rate = rate
    for (const c of streams) {
      const known = this.wanted.get(c)
      const grown = !known || known.window < window
      this.wanted.set(c, { window: Math.max(window, known?.window ?? 0), holders: (known?.holders ?? 0) + 1 })
      if (grown) this.ask(c)
    }
    return () => this.release(streams)
  }

  private release(streams: string[]): void {
    const gone: string[] = []
    for (const c of streams) {
      const known = this.wanted.get(c)
      if (!known) continue
      known.holders -= 1
      if (known.holders === 0) {
        this.wanted.delete(c)
        gone.push(c)
      }
    }
    // The next screen may show the same: wait until it had its say.
    setTimeout(() => {
      const still = gone.filter((c) => !this.wanted.has(c))
      if (still.length && this.welcomed) this.send({ t: 'unsub', chars: still })
      for (const c of still) {
        const stream = this.store.streams.get(c)
        if (stream) stream.series = null
      }
    }, 0)
  }

  private ask(c: string): void {
    if (this.pending) {
      this.pending.add(c)
      return
    }
    const pending = (this.pending = new Set([c]))
    queueMicrotask(() => {
      this.pending = null
      if (this.welcomed) this.subscribe([...pending].filter((one) => this.wanted.has(one)), false)
    })
  }

  private subscribe(streams: string[], resume: boolean): void {
    const byWindow = new Map<number, string[]>()
    for (const c of streams) {
      const window = this.windowOf(c)
      byWindow.set(window, [...(byWindow.get(window) ?? []), c])
    }
    if (byWindow.size === 0) byWindow.set(100, [])
    let first = resume
    for (const [window, chars] of byWindow) {
      const since: Record<string, number> = {}
      for (const c of chars) {
        const series = this.store.streams.get(c)?.series
        if (series && !series.partial && series.window >= window) since[c] = series.seq
      }
      const alarms = first ? { alarm_since: this.store.alarmSeq } : {}
      this.send({ t: 'sub', chars, window, since, epoch: this.store.epoch, rate: this.rate, ...alarms })
      first = false
    }
  }

  private connect(): void {
    clearTimeout(this.timer)
    this.timer = undefined
    this.welcomed = false
    this.openedAt = performance.now()
    const socket = new WebSocket(this.url, 'andon.v1')
    this.socket = socket
    socket.onmessage = (event) => {
      if (this.socket === socket) this.hear(JSON.parse(event.data as string) as Message)
    }
    socket.onclose = () => {
      if (this.socket !== socket) return
      if (!this.welcomed) this.refused()
      this.again()
    }
  }

  private hear(message: Message): void {
    const again = this.store.take(message)
    if (message.t === 'welcome') {
      this.welcomed = true
      this.subscribe([...this.wanted.keys()], true)
    }
    if (message.t === 'ready') this.attempts = 0
    if (again !== null) {
      const stream = this.store.streams.get(again)
      if (stream) this.subscribe([again], false)
    }
    if ('now' in message) this.echo(message.now)
  }

  /** With each message, not by a timer: hidden pages have slow timers. */
  private echo(now: number): void {
    const at = performance.now()
    if (at - this.echoed < ECHO_MS) return
    this.echoed = at
    this.send({ t: 'rx', now })
  }

  private send(message: object): void {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message))
  }

  private watch(): void {
    this.store.tick.value++
    const silence = Math.min(this.store.silence(), performance.now() - this.openedAt)
    if (silence > STALE_MS) this.store.lost()
    if (silence > DEAD_MS && this.timer === undefined) this.drop()
  }

  private drop(): void {
    const socket = this.socket
    this.socket = null
    socket?.close()
    if (this.timer === undefined) this.again()
  }

  private again(): void {
    this.socket = null
    this.welcomed = false
    this.store.lost()
    const ceiling = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.min(this.attempts++, 10))
    clearTimeout(this.timer)
    this.timer = setTimeout(() => this.connect(), ceiling / 2 + Math.random() * (ceiling / 2))
  }

  private hurry(): void {
    if (this.timer !== undefined) this.connect()
  }
}
