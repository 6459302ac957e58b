// Real paths by the history API: every screen can be linked and reloaded.
import { signal } from '@preact/signals'

export const path = signal(location.pathname)

addEventListener('popstate', () => (path.value = location.pathname))

/** A part of the path as it was meant; what nobody can decode stands for itself. */
export function decoded(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}

export function go(to: string): void {
  if (to === location.pathname + location.search) return
  history.pushState(null, '', to)
  path.value = location.pathname
  scrollTo(0, 0)
}

/** Follow links of this site without a reload. */
export function followLinks(): void {
  document.addEventListener('click', (event) => {
    const link = (event.target as Element | null)?.closest?.('a')
    if (!link || link.origin !== location.origin || link.target || link.hasAttribute('download')) return
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return
    event.preventDefault()
    go(link.pathname + link.search)
  })
}
