import { launch } from "./launch.mjs";

launch("main");
