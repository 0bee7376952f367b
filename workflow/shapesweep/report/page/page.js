// The interactive part of the page. The fragment (hash) of the URL stores the reader's choice, and
// determines everything that is shown. Plotly draws the plots.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const ACCENT = "#0b5cad", QUIET = "#5b6673", RULE = "#e4e8ed";
  // The palette of Okabe and Ito for corpora, as in the static figures.
  const PALETTE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442"];
  const VIRIDIS = ["#fde725", "#b5de2b", "#6ece58", "#35b779", "#1f9e89", "#26828e", "#31688e", "#3e4989", "#482878", "#440154"];
  const MAGMA = ["#000004", "#180f3d", "#440f76", "#721f81", "#9e2f7f", "#cd4071", "#f1605d", "#fd9668", "#feca8d", "#fcfdbf"];
  const CIVIDIS = ["#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838"];
  const SHAPES = { dome: "a dome", box: "a box", flat: "flat", other: "neither a dome, nor a box, nor flat", undefined: "not defined" };
  const CONFIG = { responsive: true, displayModeBar: false, scrollZoom: false, doubleClick: false };
  const corpora = [...new Set(data.curves.map((c) => c.corpus))].sort((a, b) => (b === "text") - (a === "text"));

  // ---- the choice -------------------------------------------------------------------------

  const runKey = (run) => [run.suite, run.run, run.over].join("/");
  const corpusKey = (c) => (c.pooling === "tokens" ? c.corpus : `${c.corpus}/${c.pooling}`);
  const metricKey = (c) => (c.k === null ? c.metric : `${c.metric}/${c.k}`);
  const metricLabel = (c) => (c.k === null ? c.metric : `${c.metric}, k = ${c.k}`);
  const curvesOf = new Map(data.runs.map((_, i) => [i, data.curves.filter((c) => c.run === i)]));
  const shown = data.runs.map((_, i) => i).filter((i) => curvesOf.get(i).length);

  function choiceOfHash() {
    const parameters = new URLSearchParams(location.hash.slice(1));
    return Object.fromEntries(["run", "corpus", "selection", "metric", "layer", "step"].map((k) => [k, parameters.get(k)]));
  }

  const firstOf = (wanted, options, otherwise) =>
    options.includes(wanted) ? wanted : options.includes(otherwise) ? otherwise : options[0];

  // Keep the parts of a choice that exist in the data, and replace all other parts with defaults.
  function choose(wanted) {
    const keys = shown.map((i) => runKey(data.runs[i]));
    const run = shown[keys.indexOf(firstOf(wanted.run, keys))];
    const about = data.runs[run];
    let left = curvesOf.get(run);
    const pick = (key, value, otherwise) => {
      const picked = firstOf(value, [...new Set(left.map(key))], otherwise);
      left = left.filter((c) => key(c) === picked);
      return picked;
    };
    const corpus = pick(corpusKey, wanted.corpus, "text");
    const metric = pick(metricKey, wanted.metric, "anisotropy");
    const selection = pick((c) => c.selection, wanted.selection, "no_first");
    const points = about.checkpoints.map((p) => p.key);
    const step = points.indexOf(firstOf(wanted.step, points, points.at(-1)));
    const layers = about.layers.map(layerKey);
    const middle = layerKey([Math.round(about.n_layers / 2), "block"]);
    const layer = layers.indexOf(firstOf(wanted.layer, layers, middle));
    return { run, about, corpus, selection, metric, step, layer, curve: left[0] };
  }

  const layerKey = ([number, kind]) => (kind === "final_norm" ? "final_norm" : String(number));
  const layerLabel = ([number, kind]) =>
    kind === "final_norm" ? "after the final norm" : kind === "embedding" ? "0, embedding" : String(number);

  function hashOf(now) {
    const parameters = new URLSearchParams({
      run: runKey(now.about), corpus: now.corpus, selection: now.selection, metric: now.metric,
      layer: layerKey(now.about.layers[now.layer]), step: now.about.checkpoints[now.step].key,
    });
    return `#${parameters}`;
  }

  // ---- sentences --------------------------------------------------------------------------

  const number = (v) => (v === null || v === undefined ? "?" : String(v));
  const integer = (v) => (v === null ? "?" : v.toLocaleString("en"));
  const short = (v) => (v === null ? "?" : String(Number(v.toPrecision(3))));
  const ONE_GROUP = "rests on one group of documents";
  const interval = ([v, low, high]) => `${short(v)}${low === null ? "" : ` (95 % interval ${short(low)} to ${short(high)})`}`;
  const cell = (folded, i, j) => (Array.isArray(folded) ? folded[i][j] : folded);
  const COMPACT = { notation: "compact", maximumSignificantDigits: 4 };
  const count = (axis, v) => (axis.on_tokens ? v.toLocaleString("en", COMPACT).replace(/[A-Z]$/, " $&") : integer(v));
  const place = (axis, v) => (axis.on_tokens ? `${count(axis, v)} tokens` : `step ${count(axis, v)}`);

  const pointLabel = ({ axis }, { revision, step, tokens }) => (step === null ? revision || "no step" : place(axis, step)) +
    (tokens === null || axis.on_tokens ? "" : `, ${integer(tokens)} tokens`);

  function courseWords(now) {
    const c = now.curve.course, when = (step) => place(now.about.axis, step), what = "Middle blocks over training";
    if (!c) return `${what}: not described.`;
    if (c.noise === null) return `${what}: ${c.verdict}.`;
    const moves = c.moves.map((m) => `${m.kind} of ${short(m.size)} (97.5 % interval ${short(m.low)} to ${short(m.high)}) ` +
      `from ${when(m.from_step)} to ${when(m.to_step)}`);
    const tested = c.tested ? "" : " This curve is described, but not tested.";
    return `${what}: ${short(c.first)} at ${when(c.first_step)}, ${short(c.last)} at ${when(c.last_step)}; ` +
      `${moves.length ? moves.join(", ") : "no rise and no fall exceeds the noise"}. ` +
      `Noise of training: ${short(c.noise)}, estimated from the ${c.noise_source}. ` +
      `Rises and falls of less than ${short(c.resolution)} may be missed.${tested}`;
  }

  function shapeWords(now) {
    const s = (now.curve.shapes || [])[now.step], where = `Profile over depth, ${pointLabel(now.about, now.about.checkpoints[now.step])}`;
    if (!s) return `${where}: no verdict.`;
    const parts = [["height", "height"], ["centre", "centre at depth"], ["left", "left edge"], ["right", "right edge"]]
      .filter(([name]) => s[name]).map(([name, words]) => `${words} ${interval(s[name])}`);
    if (s.without !== null) parts.push(`the height ${ONE_GROUP}, without it ${short(s.without)}`);
    return `${where}: ${SHAPES[s.shape] || s.shape}${parts.length ? `; ${parts.join(", ")}` : ""}.`;
  }

  function meaningWords(now) {
    const texts = data.metrics[now.curve.metric], c = now.curve;
    const documents = c.n_documents === null ? "" : ` ${integer(c.n_documents)} documents of ${integer(c.document_length)} tokens.`;
    const bands = now.about.over === "seeds" ? " The bands are 95 % intervals over seeds." : " The bands are 95 % intervals over documents.";
    const meaning = texts ? `${c.metric}: ${texts[0]}. It is not ${texts[1]}.`.replaceAll("`", "") : "";
    return meaning + documents + bands;
  }

  // ---- plots ------------------------------------------------------------------------------

  function mixed(scale, share) {
    const x = Math.min(Math.max(share, 0), 1) * (scale.length - 1), i = Math.min(Math.floor(x), scale.length - 2);
    const parts = (hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));
    const [a, b] = [parts(scale[i]), parts(scale[i + 1])];
    return `rgb(${a.map((v, k) => Math.round(v + (b[k] - v) * (x - i))).join(",")})`;
  }

  const logOf = ({ axis }) => (position) => Math.log10(1 + position / axis.unit);
  // Plotly interprets text in angle brackets as a tag.
  const safe = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  const faded = (color, share) => (color.startsWith("#")
    ? color + Math.round(share * 255).toString(16).padStart(2, "0") : color.replace("rgb(", "rgba(").replace(")", `,${share})`));

  function layout(more) {
    const axis = { gridcolor: RULE, zeroline: false, linecolor: "#b9c2cc", ticks: "outside", tickcolor: "#b9c2cc", fixedrange: true, automargin: true };
    const { xaxis, yaxis, ...rest } = more;
    return {
      margin: { l: 58, r: 12, t: 12, b: 46 }, font: { family: "system-ui, sans-serif", size: 12, color: "#1d2530" },
      paper_bgcolor: "#ffffff", plot_bgcolor: "#ffffff", dragmode: false, hovermode: "closest", showlegend: false,
      xaxis: { ...axis, ...xaxis }, yaxis: { ...axis, ...yaxis }, ...rest,
      ...(rest.yaxis2 ? { yaxis2: { ...axis, ...rest.yaxis2 } } : {}),
    };
  }

  // The outline of a band. A missing value splits it into pieces.
  function outline(x, low, high, color, more) {
    const out = { x: [], y: [] };
    let piece = [];
    const close = () => {
      if (piece.length > 1) {
        out.x.push(...piece.map((i) => x[i]), ...piece.toReversed().map((i) => x[i]), null);
        out.y.push(...piece.map((i) => high[i]), ...piece.toReversed().map((i) => low[i]), null);
      }
      piece = [];
    };
    x.forEach((_, i) => (low[i] === null || high[i] === null ? close() : piece.push(i)));
    close();
    return { ...out, type: "scatter", mode: "lines", line: { width: 0 }, fill: "toself", fillcolor: faded(color, 0.18), hoverinfo: "skip", showlegend: false, ...more };
  }

  function hoverText(now, i, j) {
    const c = now.curve, flag = data.flags[cell(c.flag, i, j)];
    const without = c.without === null ? null : c.without[i][j];
    const ends = without !== null ? `${ONE_GROUP}, without it ${number(without)}`
      : c.low[i][j] === null ? "no interval" : `95 % interval ${number(c.low[i][j])} to ${number(c.high[i][j])}`;
    return `${safe(pointLabel(now.about, now.about.checkpoints[i]))}<br>layer ${layerLabel(now.about.layers[j])}<br>` +
      `${safe(metricLabel(c))} ${number(c.value[i][j])}<br>${ends}<br>` +
      `N = ${integer(cell(c.n, i, j))}${flag ? `<br>${safe(flag)}` : ""}`;
  }

  function stepShare(now, i) {
    const steps = now.about.checkpoints.map((p) => p.step ?? 0), log = logOf(now.about), top = log(Math.max(...steps));
    return top ? log(steps[i]) / top : 1;
  }

  function profilePlot(now) {
    const { curve, about } = now, stack = about.layers.map((_, j) => j).filter((j) => about.layers[j][1] !== "final_norm");
    const norm = about.layers.findIndex((l) => l[1] === "final_norm");
    const x = stack.map((j) => about.layers[j][0]), take = (line) => stack.map((j) => line[j]);
    const faint = Math.max(0.12, Math.min(0.4, 8 / about.checkpoints.length));
    const traces = about.checkpoints.map((_, i) => ({
      x, y: take(curve.value[i]), type: "scatter", mode: "lines", opacity: faint, hoverinfo: "skip",
      line: { color: mixed(VIRIDIS, stepShare(now, i)), width: 1 },
    })).filter((_, i) => i !== now.step);
    const i = now.step;
    traces.push(outline(x, take(curve.low[i]), take(curve.high[i]), ACCENT));
    traces.push({
      x, y: take(curve.value[i]), type: "scatter", mode: "lines+markers", name: "chosen", line: { color: ACCENT, width: 2.5 },
      marker: { size: 6, color: ACCENT }, text: stack.map((j) => hoverText(now, i, j)), hoverinfo: "text",
    });
    if (norm >= 0) {
      const last = stack.at(-1);
      traces.push({
        x: [about.layers[last][0], about.layers[norm][0] + 0.6], y: [curve.value[i][last], curve.value[i][norm]], type: "scatter",
        mode: "lines+markers", line: { color: ACCENT, width: 1.5, dash: "dot" }, marker: { size: [0, 8], symbol: "circle-open", color: ACCENT },
        text: ["", hoverText(now, i, norm)], hoverinfo: "text",
      });
    }
    const drawn = layout({ xaxis: { title: { text: "layer" } }, yaxis: { title: { text: safe(metricLabel(curve)) }, rangemode: "tozero" } });
    Plotly.react("profile", traces, drawn, CONFIG);
  }

  function mapPlot(now) {
    const { curve, about } = now, columns = about.checkpoints.map((_, i) => i), rows = about.layers.map((_, j) => j);
    const few = (all, n) => [...new Set(Array.from({ length: Math.min(n, all.length) }, (_, i, m = Math.min(n, all.length)) =>
      all[m > 1 ? Math.round((i * (all.length - 1)) / (m - 1)) : 0]))];
    const step = (i) => { const p = about.checkpoints[i]; return p.step === null ? safe(p.revision ?? "") : count(about.axis, p.step); };
    // Label as many columns as fit next to each other.
    const widest = Math.max(...columns.map((i) => step(i).length)), room = at("map").clientWidth - 150;
    const xs = few(columns, Math.max(2, Math.floor(room / (9 * widest + 12)))), ys = rows.length < 14 ? rows : few(rows, 9);
    const trace = {
      type: "heatmap", x: columns, y: rows, z: rows.map((j) => columns.map((i) => curve.value[i][j])), colorscale: MAGMA.map((color, i) => [i / (MAGMA.length - 1), color]),
      text: rows.map((j) => columns.map((i) => hoverText(now, i, j))), hoverinfo: "text", hoverongaps: false,
      colorbar: { thickness: 10, outlinewidth: 0, len: 1 },
    };
    const breaks = columns.filter((i) => i && about.checkpoints[i].segment !== about.checkpoints[i - 1].segment);
    const drawn = layout({
      xaxis: { title: { text: `checkpoint (${about.axis.label})` }, tickvals: xs, ticktext: xs.map(step), showgrid: false, tickangle: 0 },
      yaxis: { title: { text: "layer" }, tickvals: ys, ticktext: ys.map((j) => (about.layers[j][1] === "final_norm" ? "norm" : about.layers[j][0])), showgrid: false },
      shapes: [
        ...breaks.map((i) => ({ type: "line", x0: i - 0.5, x1: i - 0.5, y0: -0.5, y1: rows.length - 0.5, line: { color: "#ffffff", width: 2 } })),
        { type: "rect", x0: now.step - 0.5, x1: now.step + 0.5, y0: -0.5, y1: rows.length - 0.5, line: { color: "#ffffff", width: 4 } },
        { type: "rect", x0: now.step - 0.5, x1: now.step + 0.5, y0: -0.5, y1: rows.length - 0.5, line: { color: ACCENT, width: 2 } },
      ],
    });
    Plotly.react("map", [trace], drawn, CONFIG);
  }

  // Split a line at breaks, where the weights of a checkpoint do not continue those of the previous one.
  function broken(values, segments) {
    return values.flatMap((value, k) => (k && segments[k] !== segments[k - 1] ? [null, value] : [value]));
  }

  function lossesOf(now) {
    return data.losses.filter((l) => l.run === now.run && (l.corpus === null || l.corpus === now.curve.corpus));
  }

  function trainingPlot(now) {
    const { curve, about } = now, points = about.checkpoints, log = logOf(about), kept = points.map((_, i) => i).filter((i) => points[i].step !== null);
    const segments = kept.map((i) => points[i].segment), x = broken(kept.map((i) => log(points[i].step)), segments), traces = [];
    const line = (name, values, color, dash, text) => {
      const take = (all) => broken(kept.map((i) => all[i]), segments);
      traces.push(outline(x, take(values.low), take(values.high), color));
      traces.push({ x, y: take(values.value), type: "scatter", mode: "lines+markers", name, line: { color, width: 2, dash }, marker: { size: 5, color }, text: broken(kept.map(text), segments), hoverinfo: "text", showlegend: true });
    };
    const layer = about.layers[now.layer], of = (all) => all.map((row) => row[now.layer]);
    if (curve.middle) {
      const m = curve.middle;
      line("middle blocks", m, PALETTE[corpora.indexOf(curve.corpus) % PALETTE.length], "solid", (i) => `${safe(pointLabel(about, points[i]))}<br>middle blocks<br>` +
        `${number(m.value[i])}<br>95 % interval ${number(m.low[i])} to ${number(m.high[i])}<br>N = ${integer(cell(m.n, 0, i))}`);
    }
    const single = { value: of(curve.value), low: of(curve.low), high: of(curve.high) };
    line(`layer ${layerLabel(layer)}`, single, mixed(CIVIDIS, 0.85 * layer[0] / (about.n_layers || 1)), "dash", (i) => hoverText(now, i, now.layer));
    const losses = lossesOf(now);
    losses.forEach((l) => {
      const color = l.source === "eval" ? "#1d2530" : "#97a1ac", take = (all) => broken(all, l.segment), places = take(l.step.map(log));
      traces.push(outline(places, take(l.low), take(l.high), color, { yaxis: "y2" }));
      traces.push({ x: places, y: take(l.value), type: "scatter", mode: "lines", name: l.source === "eval" ? "loss on the corpus" : "logged loss", yaxis: "y2", line: { color, width: 1.5 }, showlegend: true,
        text: take(l.step.map((s, k) => `${place(about.axis, s)}<br>loss ${number(l.value[k])}`)), hoverinfo: "text" });
    });
    const first = Math.floor(Math.log10(about.axis.unit)), top = Math.max(1, ...kept.map((i) => points[i].step), ...losses.flatMap((l) => l.step));
    const ticks = [0, ...Array.from({ length: 1 + Math.floor(Math.log10(top)) - first }, (_, i) => 10 ** (first + i))];
    const chosen = points[now.step].step;
    const drawn = layout({
      showlegend: true, legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 }, margin: { l: 58, r: 12, t: 12, b: 46 },
      xaxis: { title: { text: about.axis.label }, tickvals: ticks.map(log), ticktext: ticks.map((v) => count(about.axis, v)), anchor: losses.length ? "y2" : "y", range: [-0.05, log(top) + 0.05] },
      yaxis: { title: { text: safe(metricLabel(curve)) }, domain: losses.length ? [0.4, 1] : [0, 1], rangemode: "tozero" },
      ...(losses.length ? { yaxis2: { title: { text: "loss" }, domain: [0, 0.3] } } : {}),
      shapes: chosen === null ? [] : [{ type: "line", yref: "paper", x0: log(chosen), x1: log(chosen), y0: 0, y1: 1, line: { color: QUIET, width: 1, dash: "dot" } }],
      annotations: kept.length ? [] : [{ text: "no training steps", showarrow: false, xref: "paper", yref: "paper", x: 0.5, y: 0.5 }],
    });
    Plotly.react("training", traces, drawn, CONFIG);
  }

  // ---- rows of the tables -------------------------------------------------------------------

  const HEAD = ["suite", "run", "over", "corpus", "pooling", "selection", "metric", "k"];
  const POINT = ["revision", "step", "tokens", "layers", "value", "low", "high", "n_points", "flag"];
  const named = (now) => { const { about: a, curve: c } = now; return [a.suite, a.run, a.over, c.corpus, c.pooling, c.selection, c.metric, c.k]; };
  const pointCells = (now, i) => { const p = now.about.checkpoints[i]; return [p.revision, p.step, p.tokens]; };
  const single = (now, i, j) => [...named(now), ...pointCells(now, i), layerKey(now.about.layers[j]),
    now.curve.value[i][j], now.curve.low[i][j], now.curve.high[i][j], cell(now.curve.n, i, j), data.flags[cell(now.curve.flag, i, j)] ?? ""];

  const rowsOf = {
    // The plot shows all checkpoints, so its CSV is the same as for the map.
    profile: (now) => rowsOf.map(now),
    map: (now) => now.about.checkpoints.flatMap((_, i) => now.about.layers.map((_, j) => single(now, i, j))),
    training: (now) => {
      const m = now.curve.middle, points = now.about.checkpoints;
      const middle = m ? points.map((_, i) => [...named(now), ...pointCells(now, i), "middle", m.value[i], m.low[i], m.high[i], cell(m.n, 0, i), ""]) : [];
      const losses = lossesOf(now).flatMap((l) => l.step.map((step, k) =>
        [now.about.suite, now.about.run, now.about.over, l.corpus, null, null, `loss_${l.source}`, null, null, step, null, null, l.value[k], l.low[k], l.high[k], null, ""]));
      return [...middle, ...points.map((_, i) => single(now, i, now.layer)), ...losses];
    },
  };

  const quoted = (v) => { const text = v === null || v === undefined ? "" : String(v); return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text; };
  const asCsv = (rows) => `${[[...HEAD, ...POINT], ...rows].map((row) => row.map(quoted).join(",")).join("\n")}\n`;

  function tableOf(now) {
    const head = ["layer", "value", "low", "high", "N", "flag"];
    const rows = now.about.layers.map((layer, j) => [layerLabel(layer), ...single(now, now.step, j).slice(12)]);
    const line = (values, tag) => { const tr = document.createElement("tr"); values.forEach((v) => { const td = document.createElement(tag); td.textContent = v ?? ""; if (tag === "th") td.scope = "col"; tr.append(td); }); return tr; };
    at("profile-table").replaceChildren(line(head, "th"), ...rows.map((row) => line(row, "td")));
  }

  // ---- downloads --------------------------------------------------------------------------

  function save(blob, name) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name.replace(/[^\w.-]+/g, "-");
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }

  function savePlot(plot, kind) {
    const name = `${now.about.run}-${now.curve.metric}-${now.corpus}-${plot}`;
    if (kind === "csv") return save(new Blob([asCsv(rowsOf[plot](now))], { type: "text/csv" }), `${name}.csv`);
    const { clientWidth: width, clientHeight: height } = at(plot);
    return Plotly.downloadImage(plot, { format: kind, filename: name.replace(/[^\w.-]+/g, "-"), width, height, scale: kind === "png" ? 3 : 1 });
  }

  async function saveFigure(figure, kind) {
    if (kind === "csv") return save(new Blob([data.csv[figure]], { type: "text/csv" }), `${figure}.csv`);
    const image = at(`figure-${figure}`).querySelector("img"), [head, content] = image.src.split(",");
    const given = head.includes("svg") ? "svg" : "png";
    if (kind === given) {
      const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
      return save(new Blob([bytes], { type: head.slice(5).split(";")[0] }), `${figure}.${kind}`);
    }
    const canvas = document.createElement("canvas"), scale = 4;
    await image.decode();
    canvas.width = image.naturalWidth * scale;
    canvas.height = image.naturalHeight * scale;
    const brush = canvas.getContext("2d");
    brush.fillStyle = "#ffffff";
    brush.fillRect(0, 0, canvas.width, canvas.height);
    brush.drawImage(image, 0, 0, canvas.width, canvas.height);
    return canvas.toBlob((blob) => save(blob, `${figure}.png`), "image/png");
  }

  // ---- the whole page ----------------------------------------------------------------------

  let now = null, before = "";

  function fill(id, options, chosen) {
    at(id).replaceChildren(...options.map(([value, label]) => new Option(label, value, false, value === chosen)));
  }

  const unique = (curves, key, label) => [...new Map(curves.map((c) => [key(c), label(c)]))];

  function draw() {
    now = choose(choiceOfHash());
    const { about, curve } = now, all = curvesOf.get(now.run);
    const same = all.filter((c) => corpusKey(c) === now.corpus), alike = same.filter((c) => metricKey(c) === now.metric);
    // The slider does not change any of the lists, so do not fill them again.
    const lists = [now.run, now.corpus, now.selection, now.metric, now.layer].join(" ");
    if (lists !== before) {
      const suites = new Set(shown.map((i) => data.runs[i].suite));
      fill("run", shown.map((i) => data.runs[i]).map((r) => [runKey(r), (suites.size > 1 ? `${r.suite}/` : "") + r.run + (r.over === "seeds" ? ", mean over seeds" : "")]), runKey(about));
      fill("corpus", unique(all, corpusKey, (c) => corpusKey(c).replace("/", ", ")), now.corpus);
      fill("metric", unique(same, metricKey, metricLabel), now.metric);
      fill("selection", unique(alike, (c) => c.selection, (c) => c.selection), now.selection);
      fill("layer", about.layers.map((l) => [layerKey(l), layerLabel(l)]), layerKey(about.layers[now.layer]));
      before = lists;
      at("course").textContent = courseWords(now);
      at("meaning").textContent = meaningWords(now);
    }
    const label = `${pointLabel(about, about.checkpoints[now.step])} (${now.step + 1} of ${about.checkpoints.length})`;
    at("step").max = about.checkpoints.length - 1;
    at("step").value = now.step;
    at("step").setAttribute("aria-valuetext", label);
    at("step-label").textContent = label;
    at("shape").textContent = shapeWords(now);
    profilePlot(now);
    mapPlot(now);
    trainingPlot(now);
    tableOf(now);
  }

  function change(more) {
    const parameters = new URLSearchParams(hashOf(now).slice(1));
    Object.entries(more).forEach(([key, value]) => parameters.set(key, value));
    history.replaceState(null, "", `#${parameters}`);
    draw();
  }

  if (shown.length) {
    draw();
    ["run", "corpus", "selection", "metric", "layer"].forEach((id) => at(id).addEventListener("change", (e) => change({ [id]: e.target.value })));
    at("step").addEventListener("input", (e) => change({ step: now.about.checkpoints[Number(e.target.value)].key }));
    at("map").on("plotly_click", ({ points: [point] }) => change({ step: now.about.checkpoints[point.x].key, layer: layerKey(now.about.layers[point.y]) }));
    // Links within the page also change the hash; ignore them.
    addEventListener("hashchange", () => location.hash.includes("run=") && draw());
  } else {
    at("interactive").hidden = true;
    at("nothing").hidden = false;
  }
  document.addEventListener("click", ({ target }) => {
    const { plot, figure, kind } = target.dataset;
    if (plot) savePlot(plot, kind);
    else if (figure) saveFigure(figure, kind);
  });
})();
