import { describe, expect, it } from 'vitest'
import { age, day, decimalsOf, number, repeated, time, zone } from '../src/format'

const berlin = { locale: 'de-DE', timezone: 'Europe/Berlin' }
const english = { locale: 'en-US', timezone: 'America/New_York' }
const at = (iso: string) => Date.parse(iso)

describe('numbers', () => {
  it('follow the locale of the site', () => {
    expect(number(61.877, 3, berlin)).toBe('61,877')
    expect(number(61.877, 3, english)).toBe('61.877')
    expect(number(61877, 0, berlin)).toBe('61877')
  })

  it('keep the resolution of the gauge', () => {
    expect(number(12.5, 3, english)).toBe('12.500')
    expect(number(-0.25, 2, english)).toBe('−0.25')
    expect(number(-0.001, 1, english)).toBe('0.0')
    expect(number(0.123456789, null, english)).toBe('0.123457')
  })

  it.each([
    [0.025, 3],
    [0.05, 2],
    [0.1, 1],
    [1, 0],
    [50, 0],
    [0.00025, 5],
  ])('a step of %d needs %d decimals', (step, decimals) => expect(decimalsOf(step)).toBe(decimals))
})

describe('times', () => {
  const now = at('2026-11-23T12:00:00Z')

  it("are the site's, whatever the browser's zone", () => {
    expect(time(at('2026-11-23T11:05:09Z'), berlin, now)).toBe('12:05:09')
    expect(time(at('2026-11-23T11:05:09Z'), english, now)).toBe('06:05:09')
  })

  it('carry the date where it is not today', () => {
    expect(time(at('2026-11-22T11:05:09Z'), berlin, now)).toBe('22.11.2026 12:05:09')
    expect(day(at('2026-11-22T23:30:00Z'), berlin)).toBe('23.11.2026')
  })

  it('name the zone in the hour that comes twice', () => {
    const first = at('2026-10-25T00:30:00Z')
    const second = at('2026-10-25T01:30:00Z')
    expect(repeated(first, berlin)).toBe(true)
    expect(repeated(second, berlin)).toBe(true)
    expect(time(first, berlin, first)).toBe('02:30:00 CEST')
    expect(time(second, berlin, first)).toBe('02:30:00 CET')
    expect(repeated(at('2026-10-25T02:30:00Z'), berlin)).toBe(false)
    expect(zone(now, berlin)).toBe('CET')
  })

  it.each([
    [400, '0 s'],
    [59_400, '59 s'],
    [4 * 60_000, '4 min'],
    [3_600_000 + 60_000, '1 h 1 min'],
    [3 * 86_400_000, '3 d'],
    [-500, '0 s'],
  ])('an age of %d ms is %s', (ms, words) => expect(age(ms)).toBe(words))
})
