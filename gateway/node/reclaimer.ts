import { collector } from './collector.ts';

/**
 * Buffers of so many bytes may wait for the collector. For a TLS record of 16 KiB the runtime takes a buffer of 64 KiB
 * first, so what V8 counts is up to four times this; at 64 MiB it begins to go through the whole heap.
 */
export const RECLAIM_BYTES = 10 << 20;

/**
 * Counts the bytes of bodies that went through this thread and has their buffers freed, young objects only, a
 * millisecond or two every ten mebibytes. Left alone V8 does not count a buffer's bytes as young garbage: it goes through
 * the whole heap each time 64 MiB of them lie about, some thirty times a gibibyte, a third of what a transfer costs.
 * Memory that is lent comes back by itself and is not counted: what is left are bodies over HTTP/2.
 */
export function reclaimer(collect: () => void = minorCollection()): (bytes: number, lent: boolean) => void {
  let passed = 0;
  return (bytes, lent) => {
    if (lent) return;
    passed += bytes;
    if (passed < RECLAIM_BYTES) return;
    passed = 0;
    collect();
  };
}

function minorCollection(): () => void {
  const collect = collector();
  return () => collect({ type: 'minor' });
}
