// Builds build/flat.wasm: puts the interface beside the world, and lets componentize-js join both
// with the JavaScript.

import { componentize } from '@bytecodealliance/componentize-js';
import { cp, mkdir, rm, writeFile } from 'node:fs/promises';

await rm('build', { recursive: true, force: true });
await mkdir('build/wit/deps', { recursive: true });
await cp('wit/world.wit', 'build/wit/world.wit');
await cp('../../wit', 'build/wit/deps/occystrap-output', { recursive: true });

const { component } = await componentize({
  sourcePath: 'plugin.js',
  witPath: 'build/wit',
  worldName: 'plugin',
  // What the runtime would import of WASI for them: this plugin has no use for any of it.
  disableFeatures: process.env.WITH_WASI ? [] : ['clocks', 'http', 'random', 'stdio', 'fetch-event'],
});
await writeFile('build/flat.wasm', component);
