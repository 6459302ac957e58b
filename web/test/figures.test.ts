import { describe, expect, it } from 'vitest'
import { figure, unitOf, withUnit } from '../src/figures'

const english = { locale: 'en-GB', timezone: 'UTC' }
const german = { locale: 'de-DE', timezone: 'UTC' }
const single = { chart: 'i_mr', decimals: 3, n: 1, unit: 'mm' }
const noisy = 25.019 - 25.004 // 0.01499999999999702

describe('figures', () => {
  it('have the decimals of the gauge, never the noise of floats', () => {
    expect(figure(single, 'value', 25.019, english)).toBe('25.019')
    expect(figure(single, 'spread', noisy, english)).toBe('0.015')
    expect(figure(single, 'spread', noisy, german)).toBe('0,015')
    const unstated = { ...single, decimals: null }
    expect(figure(unstated, 'spread', noisy, english, 25)).toBe('0.015')
    expect(figure(unstated, 'spread', 0.1 + 0.2 - 0.3, english, 0.3)).toBe('0')
    expect(figure(unstated, 'spread', 2e-9, english, 1e-8)).toBe('0.000000002')
    expect(figure(unstated, 'limit', 0.3 - 3 * 0.1, english, 0.6)).toBe('0')
  })

  it('have one more where they are computed', () => {
    const means = { ...single, chart: 'xbar_r', n: 5 }
    expect(figure(means, 'value', 25.0004, english)).toBe('25.0004')
    expect(figure(means, 'spread', noisy, english)).toBe('0.015')
    expect(figure({ ...means, chart: 'xbar_s' }, 'spread', noisy, english)).toBe('0.0150')
    expect(figure(single, 'limit', 25.0124, english)).toBe('25.0124')
    expect(figure(single, 'spreadLimit', 0.01474, english)).toBe('0.0147')
  })

  it('show a bound as it was entered', () => {
    expect(figure(single, 'bound', 25.02, english)).toBe('25.020')
    expect(figure(single, 'bound', 25.0205, english)).toBe('25.0205')
    expect(figure(single, 'bound', 25 - 40 * 0.0041, english)).toBe('24.836')
  })

  it('show proportions in percent', () => {
    const share = { chart: 'p', decimals: 0, n: 1, unit: '' }
    expect(withUnit(share, 'value', 3 / 80, english)).toBe('3.75 %')
    expect(withUnit(share, 'limit', 0.04, german)).toBe('4,00 %')
    expect(unitOf(share)).toBe('%')
    expect(withUnit({ ...single, unit: '' }, 'value', 1, english)).toBe('1.000')
  })
})
