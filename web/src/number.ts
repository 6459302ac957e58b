// Numbers as people type them: a point or a comma as decimal mark, never both.

export type Typed = { value: number } | { mistake: string }

const NUMBER = /^[+-]?(\d+([.,]\d*)?|[.,]\d+)$/

export function parseTyped(text: string): Typed {
  const typed = text.trim().replace('−', '-')
  if (typed === '') return { mistake: 'Enter a value.' }
  if (typed.includes('.') && typed.includes(',')) {
    return { mistake: 'Use a point or a comma as decimal mark, not both.' }
  }
  if (!NUMBER.test(typed)) return { mistake: `"${typed}" is not a number.` }
  return { value: Number(typed.replace(',', '.')) }
}

/** Why a value may be a slip of the hand; null where nothing speaks against it. */
export function implausible(
  value: number,
  [lower, upper]: [number | null, number | null],
): [side: 'below' | 'above', bound: number] | null {
  if (lower !== null && value < lower) return ['below', lower]
  if (upper !== null && value > upper) return ['above', upper]
  return null
}
