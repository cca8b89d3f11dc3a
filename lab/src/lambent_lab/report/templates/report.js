"use strict";
(() => {
  const root = document.documentElement;
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const places = [...document.querySelectorAll("[data-figure]")];

  // Figures name their colours as the style does; here they become those of the theme.
  const palette = () => {
    const style = getComputedStyle(root), known = new Map();
    return (name) => {
      if (!known.has(name)) known.set(name, style.getPropertyValue(name).trim());
      return known.get(name);
    };
  };
  const themed = (value, color) => {
    if (Array.isArray(value)) return value.map((each) => themed(each, color));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, each]) =>
        [key, /^colors?$/.test(key) ? colored(each, color) : themed(each, color)]));
    }
    return value;
  };
  const colored = (value, color) => Array.isArray(value) ? value.map((each) => colored(each, color))
    : typeof value === "string" && value.startsWith("--") ? color(value) : value;

  // Where there is little room, fewer of an axis's numbers.
  const thin = (axis) => {
    if (axis.nticks) axis.nticks = 4;
    if (!axis.tickvals || axis.type !== "log") return;
    const some = axis.tickvals.length > 6 ? /^1/ : /^[15]/;
    const kept = axis.tickvals.map((value) => some.test(value.toExponential()));
    axis.tickvals = axis.tickvals.filter((_, i) => kept[i]);
    axis.ticktext = axis.ticktext.filter((_, i) => kept[i]);
  };

  const draw = (place, width) => {
    const color = palette(), figure = figures[place.dataset.figure];
    const layout = themed(figure.layout, color), data = themed(figure.data, color);
    const narrow = (width || place.clientWidth) < 420;
    for (const axis of Object.keys(layout).filter((key) => /^[xy]axis/.test(key))) {
      if (narrow && axis.startsWith("x")) thin(layout[axis]);
      Object.assign(layout[axis], {
        gridcolor: color("--line"), linecolor: color("--line"), zerolinecolor: color("--muted"), zerolinewidth: 1,
      });
    }
    for (const trace of data) {
      if (trace.type === "icicle") {
        trace.textfont = { ...trace.textfont, color: color("--on-icicle") };
        trace.pathbar = { ...trace.pathbar, textfont: { color: color("--on-icicle"), size: 11 } };
      }
    }
    return Plotly.react(place, data, {
      ...layout, ...(width ? { width } : {}),
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, sans-serif", size: 12, color: color("--text") },
      hoverlabel: { bgcolor: color("--card"), bordercolor: color("--line"), font: { color: color("--text") } },
      dragmode: false, hovermode: "closest",
    }, { responsive: true, displayModeBar: false, displaylogo: false });
  };

  // The library is in the page, packed. The policy lets it run as it was packed, and not otherwise.
  const unpack = async () => {
    const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), (each) => each.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
  };

  // One figure a frame: the words can be read while a long page is drawn.
  const drawAll = async () => {
    for (const place of places) {
      await draw(place);
      await new Promise((resolve) => setTimeout(resolve));
    }
    root.dataset.drawn = String(places.length);
  };
  const button = document.getElementById("download");
  button.hidden = false;
  button.addEventListener("click", () => {
    const raw = JSON.stringify(JSON.parse(document.getElementById("raw").textContent), null, 1);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([raw], { type: "application/json" }));
    link.download = "performance-results.json";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });

  if (places.length && !window.DecompressionStream) {
    document.getElementById("old").hidden = false;
    return;
  }
  const ready = (places.length ? unpack() : Promise.resolve()).then(drawAll);
  dark.addEventListener("change", () => ready.then(drawAll));

  // Paper is light and narrow, whatever the screen is.
  const PAPER = 670, HALF = 318;
  let before;
  window.addEventListener("beforeprint", () => {
    before = root.dataset.theme;
    root.dataset.theme = "light";
    for (const folded of document.querySelectorAll("details")) folded.open = true;
    if (window.Plotly) for (const place of places) draw(place, place.closest(".wide") ? PAPER : HALF);
  });
  window.addEventListener("afterprint", () => {
    if (before === undefined) delete root.dataset.theme; else root.dataset.theme = before;
    if (window.Plotly) for (const place of places) draw(place);
  });

  const theme = document.getElementById("theme");
  theme.hidden = false;
  theme.addEventListener("click", () => {
    const now = root.dataset.theme || (dark.matches ? "dark" : "light");
    root.dataset.theme = now === "dark" ? "light" : "dark";
    ready.then(drawAll);
  });
})();
