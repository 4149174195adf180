/** The package has no declarations; these are the parts that work on buffers of the caller's. */
declare module 'snappyjs/snappy_compressor.js' {
  export class SnappyCompressor {
    constructor(uncompressed: Uint8Array)
    maxCompressedLength(): number
    /** Returns the length; bytes beyond the end of `outBuffer` are dropped. */
    compressToBuffer(outBuffer: Uint8Array): number
  }
}

declare module 'snappyjs/snappy_decompressor.js' {
  export class SnappyDecompressor {
    constructor(compressed: Uint8Array)
    /** -1 where there is none. */
    readUncompressedLength(): number
    /** False on bad input that it notices. */
    uncompressToBuffer(outBuffer: Uint8Array): boolean
  }
}
