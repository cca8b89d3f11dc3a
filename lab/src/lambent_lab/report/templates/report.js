"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const names = ["candidate", "baseline", "difference", "text", "paper"];

  // Figures name their colours; here they become those of the theme.
  const themed = (value) => {
    if (Array.isArray(value)) return value.map(themed);
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, each]) =>
        [key, key === "color" && names.includes(each) ? color(each) : themed(each)]));
    }
    return value;
  };

  const draw = () => {
    for (const place of document.querySelectorAll("[data-figure]")) {
      const figure = figures[place.dataset.figure];
      const layout = themed(figure.layout);
      for (const axis of Object.keys(layout).filter((key) => /^[xy]axis/.test(key))) {
        Object.assign(layout[axis], {
          gridcolor: color("line"), linecolor: color("line"), zerolinecolor: color("muted"),
          zerolinewidth: 1,
        });
      }
      Plotly.react(place, themed(figure.data), {
        ...layout,
        paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
        font: { family: "system-ui, sans-serif", size: 12, color: color("text") },
        hoverlabel: { bgcolor: color("card"), bordercolor: color("line"), font: { color: color("text") } },
        dragmode: false, hovermode: "closest",
      }, { responsive: true, displayModeBar: false, displaylogo: false });
    }
  };

  draw();
  dark.addEventListener("change", draw);

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
})();
