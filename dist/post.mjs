import { launch } from "./launch.mjs";

launch("post");
