// SPDX-License-Identifier: Apache-2.0
// Functions in JavaScript: words of a text, and a wait that shows progress.
'use strict';
const { setTimeout: sleep } = require('node:timers/promises');

class ServiceRunner {
  constructor({ most = 3 }) {
    this.most = most;
  }

  // The words that a text has most often.
  words({ text }) {
    const counts = new Map();
    for (const [word] of text.toLowerCase().matchAll(/[\p{L}\p{N}]+/gu)) counts.set(word, (counts.get(word) || 0) + 1);
    console.log('%d different words', counts.size);
    return [...counts].sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0])).slice(0, this.most)
      .map(([word, count]) => ({ word, count }));
  }

  // Waits, so that there is something to watch; `drover terminate` ends it.
  async wait({ seconds }, { signal, progress }) {
    for (let step = 0; step < 10; step++) {
      progress(step * 10, `step ${step}`);
      await sleep(seconds * 100, undefined, { signal });
    }
    return 'done';
  }
}

module.exports = { ServiceRunner };
