// What a bundler does, in small: a page and its script, under a name that changes with the content.
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';

const script = readFileSync('src/app.js', 'utf8');
const name = `app.${createHash('sha256').update(script).digest('hex').slice(0, 8)}.js`;
const page = readFileSync('src/index.html', 'utf8').replace('app.js', name);
mkdirSync('dist', { recursive: true });
writeFileSync(`dist/${name}`, script);
writeFileSync('dist/index.html', page);
