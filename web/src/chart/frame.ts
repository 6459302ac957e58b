// One animation frame draws everything that changed; hidden pages get none, and catch up when shown.

const dirty = new Set<() => void>()
let scheduled = false

export function onFrame(draw: () => void): void {
  dirty.add(draw)
  if (scheduled) return
  scheduled = true
  requestAnimationFrame(() => {
    scheduled = false
    const due = [...dirty]
    dirty.clear()
    for (const one of due) one()
  })
}

export function offFrame(draw: () => void): void {
  dirty.delete(draw)
}
