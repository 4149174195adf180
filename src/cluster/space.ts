/** Is there space on a disk that was full? Asked by writing a file, in whole and durably, and removing it: no port says how much is left. */
import type { Directory } from '../platform.ts'

export const probeFile = 'probe'
/** What a log takes at once, and more. */
const probeBytes = 8 * 1024 * 1024

export function probeSpace(directory: Directory, done: (hasSpace: boolean) => void): void {
  directory.openPages(probeFile, pages => {
    if (!pages.ok) return done(false)
    const file = pages.value
    const piece = Math.floor(file.extentBytesMax / file.sectorBytes) * file.sectorBytes
    for (let at = 0; at < probeBytes; at += piece) file.write(at, new Uint8Array(piece).fill(0x5a))
    file.sync(error => {
      file.close(() => directory.remove(probeFile, () => done(error === undefined)))
    })
  })
}
