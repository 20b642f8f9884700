import { z } from 'zod';

export const path = z.string().min(1).max(4096);
export const seconds = (least: number, most: number) => z.number().min(least).max(most);

export const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || /^127(?:\.\d{1,3}){3}$/.test(host);
